package mux

import "encoding/binary"

// The header of a yamux frame (version 0): version, type, flags, stream id and
// length. The length is the body's for data frames only; for window updates it is
// how much more may be sent.
const (
	yamuxHeader   = 12
	yamuxTypeAt   = 1
	yamuxFlagsAt  = 2
	yamuxStreamAt = 4
	yamuxLengthAt = 8

	yamuxData         = 0
	yamuxWindowUpdate = 1
	yamuxPing         = 2

	yamuxSYN = 1
	yamuxACK = 2
	yamuxFIN = 4
	yamuxRST = 8
)

func yamuxFlags(header []byte) uint16  { return binary.BigEndian.Uint16(header[yamuxFlagsAt:]) }
func yamuxStream(header []byte) uint32 { return binary.BigEndian.Uint32(header[yamuxStreamAt:]) }
func yamuxLength(header []byte) uint32 { return binary.BigEndian.Uint32(header[yamuxLengthAt:]) }

// windowUpdate returns the frame that lets the peer send so much more on a stream.
func windowUpdate(stream uint32, raise int) []byte {
	header := make([]byte, yamuxHeader)
	header[yamuxTypeAt] = yamuxWindowUpdate
	binary.BigEndian.PutUint32(header[yamuxStreamAt:], stream)
	binary.BigEndian.PutUint32(header[yamuxLengthAt:], uint32(raise))
	return header
}

// guard follows the frames in what a peer sends to yamux, and stops what yamux
// would let the peer do: a ping costs it a goroutine each, and its windows are
// wider than those that the peer was given.
type guard struct {
	windows *windows

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
		if err := g.frame(g.header[:]); err != nil {
			return err
		}
	}
	return nil
}

// frame takes in a header.
func (g *guard) frame(header []byte) error {
	switch header[yamuxTypeAt] {
	case yamuxPing:
		return protocolError("a yamux ping; the Link has its own")
	case yamuxData:
		g.body = yamuxLength(header)
	case yamuxWindowUpdate:
	default:
		return nil
	}
	return g.windows.incoming(header)
}
