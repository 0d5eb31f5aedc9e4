package mux

import (
	"encoding/binary"
	"slices"
	"testing"
)

// yamuxFrame returns a frame of yamux's own protocol, version 0.
func yamuxFrame(kind byte, length uint32, body ...byte) []byte {
	h := make([]byte, yamuxHeader, yamuxHeader+len(body))
	h[yamuxTypeAt] = kind
	h[7] = 1 // the stream
	binary.BigEndian.PutUint32(h[yamuxLengthAt:], length)
	return append(h, body...)
}

const yamuxGoAway = 3

var yamuxPingFrame = yamuxFrame(yamuxPing, 12345)

// inspect gives the stream to a guard in pieces of at most n bytes.
func inspect(stream []byte, n int) (guard, error) {
	g := guard{windows: newWindows(1<<20, 1<<20)}
	for piece := range slices.Chunk(stream, n) {
		if err := g.check(piece); err != nil {
			return g, err
		}
	}
	return g, nil
}

func FuzzGuardIgnoresHowItsInputIsSplit(f *testing.F) {
	data := yamuxFrame(yamuxData, 5, []byte("hello")...)
	f.Add(data, 1)
	f.Add(slices.Concat(data, yamuxFrame(yamuxWindowUpdate, 1<<20), yamuxFrame(yamuxGoAway, 0), data[:14]), 5)
	f.Add(slices.Concat(data, yamuxPingFrame, data), 7)
	f.Add(yamuxFrame(yamuxData, 12, yamuxPingFrame...), 13)
	f.Fuzz(func(t *testing.T, stream []byte, n int) {
		if n <= 0 {
			n = 1
		}
		whole, wholeErr := inspect(stream, max(1, len(stream)))
		split, splitErr := inspect(stream, n)
		if (wholeErr == nil) != (splitErr == nil) {
			t.Fatalf("in one go: %v; in pieces of %d: %v; want the same verdict", wholeErr, n, splitErr)
		}
		if wholeErr == nil && (whole.have != split.have || whole.body != split.body) {
			t.Errorf("in one go the guard waits for %d, %d; in pieces of %d for %d, %d; want the same place in the stream",
				whole.have, whole.body, n, split.have, split.body)
		}
		if pings := hasPing(stream); pings != (wholeErr != nil) {
			t.Errorf("the stream has a ping: %v; the guard said %v", pings, wholeErr)
		}
	})
}

// hasPing looks for a ping frame by frame, with the whole stream at hand.
func hasPing(stream []byte) bool {
	for len(stream) >= yamuxHeader {
		header := stream[:yamuxHeader]
		stream = stream[yamuxHeader:]
		switch header[yamuxTypeAt] {
		case yamuxPing:
			return true
		case yamuxData:
			stream = stream[min(uint64(len(stream)), uint64(yamuxLength(header))):]
		}
	}
	return false
}

func TestGuardRefusesAYamuxPing(t *testing.T) {
	for name, stream := range map[string][]byte{
		"at the start":           yamuxPingFrame,
		"behind data":            slices.Concat(yamuxFrame(yamuxData, 3, []byte("abc")...), yamuxPingFrame),
		"behind an empty body":   slices.Concat(yamuxFrame(yamuxData, 0), yamuxPingFrame),
		"behind a window update": slices.Concat(yamuxFrame(yamuxWindowUpdate, 1<<30), yamuxPingFrame),
		"behind a go-away":       slices.Concat(yamuxFrame(yamuxGoAway, 2), yamuxPingFrame),
		"as an answer":           {0, yamuxPing, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		for n := 1; n <= len(stream); n++ {
			if _, err := inspect(stream, n); err == nil {
				t.Errorf("a ping %s, in pieces of %d, passed; want an error", name, n)
			}
		}
	}
}

func TestGuardLetsDataPassThatLooksLikeAPing(t *testing.T) {
	body := slices.Repeat(yamuxPingFrame, 20)
	stream := yamuxFrame(yamuxData, uint32(len(body)), body...)
	stream = slices.Concat(stream, yamuxFrame(yamuxWindowUpdate, 1), stream)
	for n := 1; n <= len(stream); n++ {
		if _, err := inspect(stream, n); err != nil {
			t.Errorf("data in pieces of %d: %v; want nil, it only looks like pings", n, err)
		}
	}
}
