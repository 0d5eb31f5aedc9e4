package wire

import "sync"

// chunkSize is how much of a bulk flow one chunk carries. Everybody else on the
// session waits for at most one chunk of each flow, so larger is not better.
const chunkSize = 64 << 10

// buffer holds one data chunk: room for its header, then its payload.
type buffer [headroom + chunkSize]byte

// buffers lends a buffer to each copy that has data in hand.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func borrow() *buffer             { return buffers.Get().(*buffer) }
func giveBack(b *buffer)          { buffers.Put(b) }
func (b *buffer) payload() []byte { return b[headroom:] }
