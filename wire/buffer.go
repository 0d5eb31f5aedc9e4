package wire

import (
	"math/bits"
	"sync"
)

const (
	// leastChunk is what is read at once from a flow that brings little,
	// mostChunk from one that brings much, if the stream allows it.
	leastChunk = 4 << 10
	mostChunk  = 128 << 10
)

// buffer holds one data chunk: room for its header, then its payload.
type buffer struct {
	bytes []byte
	class int
}

// classes lend buffers of 4, 8, … 128 KiB to whoever has data in hand.
var classes [6]sync.Pool

// borrow returns a buffer for a payload of n bytes, or of mostChunk if that is
// less.
func borrow(n int) *buffer {
	class := min(bits.Len(uint(max(n, 1)-1)/leastChunk), len(classes)-1)
	if b, ok := classes[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, headroom+leastChunk<<class), class}
}

// giveBack takes a buffer, or nil.
func giveBack(b *buffer) {
	if b != nil {
		classes[b.class].Put(b)
	}
}

func (b *buffer) payload() []byte { return b.bytes[headroom:] }

// grain is how much is read at once from a flow. It grows with the flow: reads
// that fill it make it larger, reads that leave it nearly empty smaller.
type grain int

func (g grain) size(most int) int { return min(max(int(g), leastChunk), most, mostChunk) }

// adapt takes in that a read for size bytes brought n.
func (g *grain) adapt(n, size int) {
	switch {
	case n == size:
		*g = grain(min(2*size, mostChunk))
	case n < size/4:
		*g = grain(max(size/2, leastChunk))
	}
}
