package mux

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// controls has one frame with each field but ack and data, and one with all.
func controls() []*relayv1.Frame {
	return []*relayv1.Frame{
		{Ping: &relayv1.Ping{Id: 1}},
		{Pong: &relayv1.Pong{Id: math.MaxUint64}},
		{Drain: &relayv1.Drain{GraceMs: 30000, Detail: "a new version"}},
		{Close: &relayv1.Close{Code: relayv1.Close_CODE_SHUTDOWN, Detail: "bye"}},
		{Ping: &relayv1.Ping{}, Pong: &relayv1.Pong{}, Drain: &relayv1.Drain{}, Close: &relayv1.Close{}},
	}
}

// encodeFrame returns a frame as the sender makes it.
func encodeFrame(t testing.TB, ack uint64, control *relayv1.Frame, data []byte) []byte {
	t.Helper()
	b, err := appendFrame(nil, &frame{ack: ack, control: control}, len(data))
	if err != nil {
		t.Fatalf("appendFrame: %v", err)
	}
	return append(b, data...)
}

func sameFrame(a, b frame) bool {
	return a.ack == b.ack && bytes.Equal(a.data, b.data) && proto.Equal(a.control, b.control)
}

func FuzzFrameThatParsesEncodesToItself(f *testing.F) {
	f.Add([]byte{})
	for i, control := range append(controls(), nil) {
		f.Add(encodeFrame(f, 0, control, nil))
		f.Add(encodeFrame(f, 1<<(7*i), control, noise(1, 50*i)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := parseFrame(b)
		if err != nil {
			var wrong protocolError
			if !errors.As(err, &wrong) {
				t.Errorf("parseFrame: %v; want a protocol error for whatever is wrong with a message", err)
			}
			return
		}
		if len(first.data) > maxPeerData {
			t.Errorf("a frame with %d bytes of data was accepted; want at most %d", len(first.data), maxPeerData)
		}
		again := encodeFrame(t, first.ack, first.control, first.data)
		second, err := parseFrame(again)
		if err != nil || !sameFrame(first, second) {
			t.Errorf("%x parsed to %v and, encoded again, to %v, %v; want the same frame", b, first, second, err)
		}
	})
}

func TestFrameIsReadBack(t *testing.T) {
	for _, control := range append(controls(), nil) {
		for _, ack := range []uint64{0, 1, 127, 128, math.MaxUint64} {
			for _, n := range []int{0, 1, 127, 128, maxFrameData} {
				want := frame{ack: ack, data: noise(2, n), control: control}
				got, err := parseFrame(encodeFrame(t, ack, control, want.data))
				if err != nil || !sameFrame(got, want) {
					t.Errorf("ack %d, control %v and %d bytes were read back as ack %d, %v and %d bytes, error %v",
						ack, control, n, got.ack, got.control, len(got.data), err)
				}
			}
		}
	}
}

func TestFrameIsAMessageForProtobuf(t *testing.T) {
	data := noise(3, 1000)
	want := proto.CloneOf(controls()[4])
	b := encodeFrame(t, 300, want, data)
	want.Ack, want.Data = 300, data
	var got relayv1.Frame
	if err := proto.Unmarshal(b, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("protobuf reads %v, %v; want %v", &got, err, want)
	}
	// And what any other encoder makes of it is read as well.
	b, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFrame(b)
	if err != nil || !sameFrame(f, frame{ack: 300, data: data, control: controls()[4]}) {
		t.Errorf("a frame encoded by protobuf gave ack %d, %v and %d bytes, error %v", f.ack, f.control, len(f.data), err)
	}
}

func TestTruncatedFrameIsAnErrorInsideAField(t *testing.T) {
	const ack = 70000
	control := controls()[3]
	data := noise(4, 300)
	b := encodeFrame(t, ack, control, data)
	// A prefix that ends between two fields is a frame of its own: WebSocket
	// keeps messages whole, so that can't happen by accident.
	_, _, ackEnd := protowire.ConsumeField(b)
	controlEnd := ackEnd + proto.Size(control)
	whole := map[int]frame{
		0:          {},
		ackEnd:     {ack: ack},
		controlEnd: {ack: ack, control: control},
		len(b):     {ack: ack, control: control, data: data},
	}
	for n := range len(b) + 1 {
		got, err := parseFrame(b[:n])
		want, isWhole := whole[n]
		if isWhole && (err != nil || !sameFrame(got, want)) {
			t.Errorf("the first %d of %d bytes gave %v, %v; want just the fields in front of that", n, len(b), got, err)
		}
		if !isWhole && (err == nil || !sameFrame(got, frame{})) {
			t.Errorf("the first %d of %d bytes gave %v, %v; want an error and nothing else, they end inside a field", n, len(b), got, err)
		}
	}
}

func TestFrameLimits(t *testing.T) {
	// What is in a Close frame around the detail: tags and lengths.
	withDetail := func(n int) *relayv1.Frame {
		return &relayv1.Frame{Close: &relayv1.Close{Detail: strings.Repeat("x", n)}}
	}
	full := maxControl - 6
	if n := proto.Size(withDetail(full)); n != maxControl {
		t.Fatalf("the frame has %d bytes; want %d for this test", n, maxControl)
	}
	for name, test := range map[string]struct {
		b    []byte
		fits bool
	}{
		"the most data":       {encodeFrame(t, 1, nil, noise(5, maxPeerData)), true},
		"too much data":       {encodeFrame(t, 1, nil, noise(5, maxPeerData+1)), false},
		"the largest control": {encodeFrame(t, 1, withDetail(full), nil), true},
		"too large a control": {encodeFrame(t, 1, withDetail(full+1), nil), false},
		"too much unknown":    {encodeFrame(t, 1, nil, nil), false},
	} {
		if name == "too much unknown" {
			test.b = protowire.AppendTag(test.b, 99, protowire.BytesType)
			test.b = protowire.AppendBytes(test.b, make([]byte, maxControl))
		}
		if _, err := parseFrame(test.b); (err == nil) != test.fits {
			t.Errorf("%s: %v; want it to fit: %v", name, err, test.fits)
		}
	}
}

func TestFrameIgnoresUnknownFields(t *testing.T) {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	b = append(b, encodeFrame(t, 5, controls()[0], []byte("data"))...)
	b = protowire.AppendBytes(protowire.AppendTag(b, 98, protowire.BytesType), []byte("x"))
	f, err := parseFrame(b)
	if err != nil || f.ack != 5 || string(f.data) != "data" || f.control.GetPing().GetId() != 1 {
		t.Errorf("got %v, %v; want the known fields, a later version may add others", f, err)
	}
}

func TestLastOfARepeatedFieldWins(t *testing.T) {
	b := append(encodeFrame(t, 5, nil, []byte("first")), encodeFrame(t, 7, nil, []byte("second"))...)
	if f, err := parseFrame(b); err != nil || f.ack != 7 || string(f.data) != "second" {
		t.Errorf("got ack %d and %q, %v; want 7 and the second, as protobuf has it", f.ack, f.data, err)
	}
}

func TestGarbageIsNoFrame(t *testing.T) {
	for name, b := range map[string][]byte{
		"field 0":               {0, 1},
		"an endless varint":     bytes.Repeat([]byte{0xff}, 20),
		"a length beyond":       {2<<3 | 2, 100, 'x'},
		"the end of no group":   {1<<3 | 4},
		"a ping that is broken": {3<<3 | 2, 1, 0xff},
		"a detail not in UTF-8": {6<<3 | 2, 3, 2<<3 | 2, 1, 0xff},
		"a reserved wire type":  {1<<3 | 7, 1},
	} {
		if f, err := parseFrame(b); err == nil {
			t.Errorf("%s parsed to %v; want an error", name, f)
		}
	}
}
