package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// maxData is the largest payload a receiver accepts in one data chunk.
	maxData = 512 << 10
	// maxControl is the largest chunk of any other kind.
	maxControl = 4 << 10
	// maxDetail keeps the line for a person well below maxControl.
	maxDetail = 512
	// dataTag begins every data chunk: field 4, length-delimited.
	dataTag = 4<<3 | byte(protowire.BytesType)
	// headroom is the longest header of a data chunk: two varints of at most
	// three bytes (maxData is below 1<<21) around the tag.
	headroom = 3 + 1 + 3
)

// sealData puts the header of a data chunk in front of the n payload bytes that
// stand at b.payload() and returns the whole chunk, a slice of b.
func (b *buffer) sealData(n int) []byte {
	var header [headroom]byte
	body := 1 + protowire.SizeVarint(uint64(n)) + n
	h := binary.AppendUvarint(header[:0], uint64(body))
	h = append(h, dataTag)
	h = binary.AppendUvarint(h, uint64(n))
	start := headroom - len(h)
	copy(b.bytes[start:], h)
	return b.bytes[start : headroom+n]
}

// encodeControl returns a chunk of any kind but data, with its length in front.
func encodeControl(chunk *relayv1.Chunk) ([]byte, error) {
	size := proto.Size(chunk)
	if size > maxControl {
		return nil, fmt.Errorf("wire: a control chunk of %d bytes is over the limit of %d", size, maxControl)
	}
	b := binary.AppendUvarint(make([]byte, 0, size+2), uint64(size))
	return proto.MarshalOptions{}.MarshalAppend(b, chunk)
}

// clip makes a line for a person fit for a chunk: not too long, and UTF-8, without
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

func connectChunk(t Target) *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_Connect{
		Connect: &relayv1.Connect{Host: t.Host, Port: uint32(t.Port)}}}
}

func connectedChunk() *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_Connected{Connected: &relayv1.Connected{}}}
}

func refusedChunk(code RefusalCode, detail string) *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_Refused{
		Refused: &relayv1.Refused{Code: relayv1.Refused_Code(code), Detail: clip(detail)}}}
}

func endChunk() *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_End{End: &relayv1.End{}}}
}

func abortChunk(code AbortCode, detail string) *relayv1.Chunk {
	return &relayv1.Chunk{Kind: &relayv1.Chunk_Abort{
		Abort: &relayv1.Abort{Code: relayv1.Abort_Code(code), Detail: clip(detail)}}}
}
