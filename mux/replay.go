package mux

import "sync"

// segmentSize is the grain in which memory for unacknowledged bytes is taken
// from the pool and given back.
const segmentSize = 64 << 10

type segment [segmentSize]byte

var segments = sync.Pool{New: func() any { return new(segment) }}

// replay keeps the bytes of a Link's direction that the peer has not
// acknowledged: those from offset start to offset end. Its segments are full but
// for the first, whose front may be released, and the last.
type replay struct {
	held       []*segment
	base       uint64 // the offset of held[0][0]
	start, end uint64
}

func (r *replay) len() int { return int(r.end - r.start) }

// append copies p behind the end.
func (r *replay) append(p []byte) {
	for len(p) > 0 {
		at := int(r.end - r.base)
		if at == len(r.held)*segmentSize {
			r.held = append(r.held, segments.Get().(*segment))
		}
		n := copy(r.held[at/segmentSize][at%segmentSize:], p)
		r.end += uint64(n)
		p = p[n:]
	}
}

// release forgets everything before offset upTo. Nobody may still read it.
func (r *replay) release(upTo uint64) {
	r.start = upTo
	full := int((upTo - r.base) / segmentSize)
	if r.start == r.end {
		full = len(r.held)
	}
	for i, s := range r.held[:full] {
		segments.Put(s)
		r.held[i] = nil
	}
	r.held = r.held[full:]
	r.base += uint64(full) * segmentSize
	if len(r.held) == 0 {
		r.held, r.base = nil, r.end
	}
}

// view appends to parts the slices that hold the n bytes from offset from on.
func (r *replay) view(parts [][]byte, from uint64, n int) [][]byte {
	for at := int(from - r.base); n > 0; {
		s := r.held[at/segmentSize][at%segmentSize:]
		s = s[:min(len(s), n)]
		parts = append(parts, s)
		at += len(s)
		n -= len(s)
	}
	return parts
}
