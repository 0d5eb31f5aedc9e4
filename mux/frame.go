package mux

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// maxFrameData is how much data this end puts into one frame: a chunk of any
	// size, and what small writes are waiting beside it.
	maxFrameData = mostChunk + smallWrite
	// maxPeerData is how much this end accepts in one frame.
	maxPeerData = 512 << 10
	// maxControl bounds all the fields of a frame but its data.
	maxControl = 4 << 10
	// maxDetail keeps a line for a person well below maxControl.
	maxDetail = 512
)

// The numbers of Frame's fields that the data path handles itself.
const (
	ackField   = 1
	dataField  = 2
	sentField  = 7
	delayField = 8
)

// frame is a parsed relay.v1.Frame. The data is a slice of the message.
type frame struct {
	ack     uint64
	sent    uint64 // in the sender's microseconds; 0: not said
	delay   int64  // in microseconds, and clocks that don't agree; 0: not said
	data    []byte
	control *relayv1.Frame // every other field; nil if there is none
}

// parseFrame parses a message in place. As protobuf has it, the last of a
// repeated field wins, and unknown fields are ignored.
func parseFrame(b []byte) (f frame, err error) {
	var control []byte
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return frame{}, protocolError("a frame that is no protobuf message")
		}
		m := protowire.ConsumeFieldValue(number, kind, b[n:])
		if m < 0 {
			return frame{}, protocolError("a frame that is no protobuf message")
		}
		value := b[n : n+m]
		switch {
		case number == ackField && kind == protowire.VarintType:
			f.ack, _ = protowire.ConsumeVarint(value)
		case number == sentField && kind == protowire.VarintType:
			f.sent, _ = protowire.ConsumeVarint(value)
		case number == delayField && kind == protowire.VarintType:
			delay, _ := protowire.ConsumeVarint(value)
			f.delay = protowire.DecodeZigZag(delay)
		case number == dataField && kind == protowire.BytesType:
			f.data, _ = protowire.ConsumeBytes(value)
		default:
			control = append(control, b[:n+m]...)
		}
		b = b[n+m:]
	}
	switch {
	case len(f.data) > maxPeerData:
		return frame{}, protocolError("a frame with too much data")
	case len(control) > maxControl:
		return frame{}, protocolError("a frame with too much beside its data")
	case len(control) == 0:
		return f, nil
	}
	f.control = new(relayv1.Frame)
	if proto.Unmarshal(control, f.control) != nil {
		return frame{}, protocolError("a frame that is no protobuf message")
	}
	return f, nil
}

// appendFrame appends a frame, but for its data: n bytes, which come last.
func appendFrame(b []byte, f *frame, n int) ([]byte, error) {
	b = appendNumber(b, ackField, f.ack)
	b = appendNumber(b, sentField, f.sent)
	b = appendNumber(b, delayField, protowire.EncodeZigZag(f.delay))
	if f.control != nil {
		var err error
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, f.control); err != nil {
			return nil, err
		}
	}
	if n > 0 {
		b = protowire.AppendTag(b, dataField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
	}
	return b, nil
}

// appendNumber appends a field, unless it is 0.
func appendNumber(b []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}

// clip makes a line for a person fit for a frame: not too long, and UTF-8, without
// which protobuf would send nothing at all.
func clip(detail string) string {
	detail = strings.ToValidUTF8(detail, "?")
	if len(detail) <= maxDetail {
		return detail
	}
	end := maxDetail
	for !utf8.RuneStart(detail[end]) {
		end--
	}
	return detail[:end]
}
