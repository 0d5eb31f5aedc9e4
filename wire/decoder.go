package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// decoder splits a stream into chunks. It remembers what it has parsed, so a
// read that was interrupted by a deadline goes on where it stopped.
//
// next moves to the next chunk. If that is a data chunk, its payload is read
// with Read before next is called again.
type decoder struct {
	src io.Reader

	// buf[lo:hi] was read from src and not used yet. It is small: an idle tunnel
	// waits here, and a payload is read around it.
	buf    [64]byte
	lo, hi int

	left    int    // payload bytes of the current data chunk still to come
	control []byte // the body of a control chunk, as far as it has arrived
	missing int    // how much of that is still to come
}

// next returns the next control chunk, or nil if a data chunk begins. io.EOF
// means that the stream ended between two chunks.
func (d *decoder) next() (*relayv1.Chunk, error) {
	for d.missing == 0 {
		done, err := d.header()
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
	if d.missing == 0 {
		return nil, nil
	}
	return d.body()
}

// header parses the length and the tag in front of a chunk. It consumes them
// only if they are there completely, and reports whether they were.
func (d *decoder) header() (bool, error) {
	in := d.buf[d.lo:d.hi]
	size, n := binary.Uvarint(in)
	switch {
	case n < 0 || n > 0 && size > maxData+headroom:
		return false, protocolError("a chunk is over the limit")
	case n == 0 || n == len(in) && size > 0:
		return false, nil
	case size == 0:
		return false, protocolError("an empty chunk")
	case in[n] == dataTag:
		return d.dataHeader(in, int(size), n)
	case size > maxControl:
		return false, protocolError(fmt.Sprintf("a control chunk of %d bytes is over the limit of %d", size, maxControl))
	}
	d.lo += n
	d.control, d.missing = make([]byte, 0, size), int(size)
	return true, nil
}

// dataHeader parses the rest of a data chunk's header: in[n] is its tag and
// size the length of the chunk.
func (d *decoder) dataHeader(in []byte, size, n int) (bool, error) {
	length, m := binary.Uvarint(in[n+1:])
	switch {
	case m == 0 && len(in)-n-1 < binary.MaxVarintLen64:
		return false, nil
	case m <= 0 || m != protowire.SizeVarint(length) || length > maxData || 1+m+int(length) != size:
		return false, protocolError("a data chunk whose lengths do not agree")
	}
	d.lo += n + 1 + m
	d.left = int(length)
	return true, nil
}

// body gathers the rest of a control chunk and parses it.
func (d *decoder) body() (*relayv1.Chunk, error) {
	for d.missing > 0 {
		n := min(d.missing, d.hi-d.lo)
		d.control = append(d.control, d.buf[d.lo:d.lo+n]...)
		d.lo += n
		d.missing -= n
		if d.missing > 0 {
			if err := d.fill(); err != nil {
				return nil, err
			}
		}
	}
	control := d.control
	d.control = nil
	return parseControl(control)
}

// parseControl parses a chunk of any kind but data.
func parseControl(b []byte) (*relayv1.Chunk, error) {
	chunk := new(relayv1.Chunk)
	if err := proto.Unmarshal(b, chunk); err != nil {
		return nil, protocolError("a control chunk that is no protobuf message")
	}
	switch chunk.GetKind().(type) {
	case nil:
		return nil, protocolError("a chunk of an unknown kind")
	case *relayv1.Chunk_Data:
		return nil, protocolError("a data chunk that does not begin with its data")
	}
	if kinds(b) > 1 { // Unmarshal lets the last one win
		return nil, protocolError("a chunk of several kinds")
	}
	return chunk, nil
}

// kinds counts the fields of a valid message that Chunk knows.
func kinds(b []byte) (count int) {
	known := (*relayv1.Chunk)(nil).ProtoReflect().Descriptor().Fields()
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if known.ByNumber(number) != nil {
			count++
		}
		b = b[n:]
	}
	return count
}

// ready reports whether there is something to do without reading from src.
func (d *decoder) ready() bool {
	if d.lo == d.hi || d.left > 0 || d.missing > 0 {
		return d.lo < d.hi
	}
	probe := *d
	done, err := probe.header()
	return done || err != nil
}

// fill reads more into buf. An end of the stream inside a chunk is
// io.ErrUnexpectedEOF.
func (d *decoder) fill() error {
	if d.lo > 0 {
		d.hi = copy(d.buf[:], d.buf[d.lo:d.hi])
		d.lo = 0
	}
	n, err := d.src.Read(d.buf[d.hi:])
	d.hi += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && (d.hi > 0 || d.missing > 0) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read reads payload of the current data chunk, at most d.left bytes.
func (d *decoder) Read(p []byte) (int, error) {
	p = p[:min(len(p), d.left)]
	n := copy(p, d.buf[d.lo:d.hi])
	if n > 0 {
		d.lo += n
		d.left -= n
		return n, nil
	}
	n, err := d.src.Read(p)
	d.left -= n
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// readPayload reads payload into p as it arrives. The few bytes that came in with
// the header don't go alone: the rest of the chunk is right behind them, since
// the sender wrote it in one piece.
func (d *decoder) readPayload(p []byte) (int, error) {
	headed := d.lo < d.hi
	n, err := d.Read(p)
	if !headed || err != nil || d.left == 0 || n == len(p) {
		return n, err
	}
	m, err := d.Read(p[n:])
	return n + m, err
}
