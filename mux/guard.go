package mux

import "encoding/binary"

// The header of a yamux frame (version 0): version, type, flags, stream id and
// length, the last of which is the body's for data frames only.
const (
	yamuxHeader   = 12
	yamuxTypeAt   = 1
	yamuxLengthAt = 8
	yamuxData     = 0
	yamuxPing     = 2
)

// guard follows the frames in what a peer sends to yamux, and stops what yamux
// would let the peer do: each ping costs it a goroutine.
type guard struct {
	header [yamuxHeader]byte
	have   int    // bytes of the header that have come
	body   uint32 // bytes of the body still to come
}

// check looks at the next bytes of the stream.
func (g *guard) check(b []byte) error {
	for len(b) > 0 {
		if g.body > 0 {
			n := min(uint32(len(b)), g.body)
			g.body -= n
			b = b[n:]
			continue
		}
		n := copy(g.header[g.have:], b)
		g.have += n
		b = b[n:]
		if g.have < yamuxHeader {
			return nil
		}
		g.have = 0
		switch g.header[yamuxTypeAt] {
		case yamuxPing:
			return protocolError("a yamux ping; the Link has its own")
		case yamuxData:
			g.body = bodyLength(g.header[:])
		}
	}
	return nil
}

// bodyLength is how many bytes follow the header of a data frame.
func bodyLength(header []byte) uint32 {
	return binary.BigEndian.Uint32(header[yamuxLengthAt:])
}
