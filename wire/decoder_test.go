package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// dataChunk returns a data chunk as a sender makes it.
func dataChunk(payload []byte) []byte {
	b := borrow(mostChunk)
	defer giveBack(b)
	return bytes.Clone(b.sealData(copy(b.payload(), payload)))
}

// controlChunk returns a chunk of another kind as a sender makes it.
func controlChunk(chunk *relayv1.Chunk) []byte {
	b, err := encodeControl(chunk)
	if err != nil {
		panic(err)
	}
	return b
}

// controlChunks has one chunk of each kind but data.
func controlChunks() []*relayv1.Chunk {
	return []*relayv1.Chunk{
		connectChunk(example),
		connectedChunk(),
		refusedChunk(DNSError, "no such name"),
		endChunk(),
		abortChunk(AbortReset, "the connection was reset"),
	}
}

// pattern returns n bytes of which no two neighbours are the same.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// item is what a decoder reported: a control chunk, or a data chunk.
type item struct {
	control *relayv1.Chunk // nil for data
	size    int            // the payload that was announced
	payload []byte         // as much of it as came
}

func (i item) equal(other item) bool {
	return proto.Equal(i.control, other.control) && i.size == other.size && bytes.Equal(i.payload, other.payload)
}

// decodeAll reads chunks until an error.
func decodeAll(r io.Reader) ([]item, error) {
	d := decoder{src: r}
	var items []item
	for {
		chunk, err := d.next()
		if err != nil {
			return items, err
		}
		if chunk != nil {
			items = append(items, item{control: chunk})
			continue
		}
		data := item{size: d.left}
		data.payload, err = readPayloads(&d)
		items = append(items, data)
		if err != nil {
			return items, err
		}
	}
}

// readPayloads reads the rest of a data chunk.
func readPayloads(d *decoder) (payload []byte, err error) {
	buf := make([]byte, 4096)
	for d.left > 0 && err == nil {
		var n int
		n, err = d.readPayload(buf)
		payload = append(payload, buf[:n]...)
	}
	return payload, err
}

func FuzzDecoderIsSafeAndIgnoresHowInputIsSplit(f *testing.F) {
	var all []byte
	for _, chunk := range controlChunks() {
		f.Add(controlChunk(chunk))
		all = append(all, controlChunk(chunk)...)
	}
	for _, n := range []int{0, 1, 127, 128, 300} {
		f.Add(dataChunk(pattern(n)))
		all = append(all, dataChunk(pattern(n))...)
	}
	f.Add(all)
	f.Add(all[:len(all)-7])
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantErr := decodeAll(bytes.NewReader(b))
		checkLimits(t, b, want, wantErr)
		for name, split := range map[string]func(io.Reader) io.Reader{
			"one byte at a time":      iotest.OneByteReader,
			"half of what is asked":   iotest.HalfReader,
			"EOF with the last bytes": iotest.DataErrReader,
		} {
			got, err := decodeAll(split(bytes.NewReader(b)))
			if !slices.EqualFunc(got, want, item.equal) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s: got %v and %v; want %v and %v, as when read in one go", name, got, err, want, wantErr)
			}
		}
	})
}

// checkLimits checks what holds for any input.
func checkLimits(t *testing.T, input []byte, items []item, err error) {
	t.Helper()
	var wrong protocolError
	if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &wrong) {
		t.Errorf("the decoder ended with %v; want an EOF or a protocol error, the source has no others", err)
	}
	total := 0
	for _, i := range items {
		total += len(i.payload)
		if i.size > maxData || len(i.payload) > i.size {
			t.Errorf("a data chunk of %d bytes announced %d; want at most %d, and no more than announced", len(i.payload), i.size, maxData)
		}
		if n := proto.Size(i.control); i.control != nil && n > maxControl {
			t.Errorf("a control chunk of %d bytes; want at most %d", n, maxControl)
		}
	}
	if total > len(input) {
		t.Errorf("%d payload bytes came out of %d input bytes", total, len(input))
	}
}

func TestDecoderReadsBackEveryControlChunk(t *testing.T) {
	for _, want := range controlChunks() {
		items, err := decodeAll(bytes.NewReader(controlChunk(want)))
		if len(items) != 1 || !proto.Equal(items[0].control, want) || err != io.EOF {
			t.Errorf("%v was read back as %v and %v; want the same chunk, then io.EOF", want, items, err)
		}
	}
}

func TestDecoderReadsBackDataOfEverySize(t *testing.T) {
	// The sizes are around those at which a varint grows by a byte.
	for _, n := range []int{0, 1, 125, 126, 127, 128, 16381, 16383, 16384, 16385, chunkSize} {
		want := item{size: n, payload: pattern(n)}
		chunk := dataChunk(want.payload)
		for name, r := range map[string]io.Reader{
			"in one go":          bytes.NewReader(chunk),
			"one byte at a time": iotest.OneByteReader(bytes.NewReader(chunk)),
		} {
			items, err := decodeAll(r)
			if len(items) != 1 || !items[0].equal(want) || err != io.EOF {
				t.Errorf("%d bytes, read %s: %d chunks and %v; want the same data, then io.EOF", n, name, len(items), err)
			}
		}
	}
}

func TestSealedDataIsAChunkForProtobuf(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 128, 16381, 16384, chunkSize} {
		b := dataChunk(pattern(n))
		size, m := binary.Uvarint(b)
		var chunk relayv1.Chunk
		if err := proto.Unmarshal(b[m:], &chunk); err != nil || int(size) != len(b)-m {
			t.Errorf("%d bytes: length %d before %d bytes, error %v; want a delimited Chunk", n, size, len(b)-m, err)
		}
		if _, isData := chunk.GetKind().(*relayv1.Chunk_Data); !isData || !bytes.Equal(chunk.GetData(), pattern(n)) {
			t.Errorf("%d bytes: protobuf sees %d bytes of %T; want the payload", n, len(chunk.GetData()), chunk.GetKind())
		}
	}
}

func TestDecoderAcceptsTheLargestChunks(t *testing.T) {
	header := binary.AppendUvarint(nil, maxData+4)
	header = binary.AppendUvarint(append(header, dataTag), maxData)
	items, err := decodeAll(io.MultiReader(bytes.NewReader(header), bytes.NewReader(pattern(maxData))))
	if len(items) != 1 || !bytes.Equal(items[0].payload, pattern(maxData)) || err != io.EOF {
		t.Errorf("a data chunk at the limit gave %d chunks and %v; want its data, then io.EOF", len(items), err)
	}
	// The two bytes of a nested length, and the two tags and lengths around it.
	want := &relayv1.Chunk{Kind: &relayv1.Chunk_Abort{Abort: &relayv1.Abort{Detail: strings.Repeat("x", maxControl-6)}}}
	if n := proto.Size(want); n != maxControl {
		t.Fatalf("the chunk has %d bytes; want %d for this test", n, maxControl)
	}
	items, err = decodeAll(bytes.NewReader(controlChunk(want)))
	if len(items) != 1 || !proto.Equal(items[0].control, want) || err != io.EOF {
		t.Errorf("a control chunk at the limit gave %d chunks and %v; want it, then io.EOF", len(items), err)
	}
}

func TestEncodeControlRefusesWhatNoReceiverAccepts(t *testing.T) {
	if b, err := encodeControl(connectChunk(Target{Host: strings.Repeat("x", maxControl), Port: 1})); err == nil {
		t.Errorf("a control chunk of %d bytes was encoded; want an error over %d", len(b), maxControl)
	}
}

func TestLongDetailIsClippedNotRefused(t *testing.T) {
	b, err := encodeControl(abortChunk(AbortReset, strings.Repeat("x", 10*maxControl)))
	if err != nil || len(b) > maxControl {
		t.Errorf("an abort with a long detail took %d bytes, error %v; want it shortened: the code must get through", len(b), err)
	}
}

func TestTruncatedChunkIsUnexpectedEOF(t *testing.T) {
	whole := map[int]bool{0: true} // the lengths at which a prefix ends between chunks
	var all []byte
	add := func(chunk []byte) {
		all = append(all, chunk...)
		whole[len(all)] = true
	}
	for _, chunk := range controlChunks() {
		add(controlChunk(chunk))
	}
	for _, n := range []int{0, 1, 127, 128, 300} {
		add(dataChunk(pattern(n)))
	}
	for n := range len(all) + 1 {
		want := io.ErrUnexpectedEOF
		if whole[n] {
			want = io.EOF
		}
		if _, err := decodeAll(bytes.NewReader(all[:n])); err != want {
			t.Errorf("the first %d of %d bytes gave %v; want %v (io.EOF between chunks only)", n, len(all), err, want)
		}
	}
}

// delimited puts the length in front of a chunk's bytes.
func delimited(body ...byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// announced is the beginning of a chunk whose rest does not matter: it is to be
// refused for its length.
func announced(size uint64, then ...byte) []byte {
	return append(binary.AppendUvarint(nil, size), then...)
}

func TestDecoderRefuses(t *testing.T) {
	const unknown = 15 << 3 // a varint field that Chunk does not have
	endless := bytes.Repeat([]byte{0x80}, binary.MaxVarintLen64+1)
	tests := map[string][]byte{
		"an empty chunk":                         announced(0),
		"a data chunk over the limit":            binary.AppendUvarint(announced(maxData+5, dataTag), maxData+1),
		"a control chunk over the limit":         announced(maxControl+1, 1<<3|2),
		"a length over every limit":              announced(1 << 40),
		"a length that no integer holds":         append(bytes.Repeat([]byte{0xff}, 9), 0x7f),
		"a length varint that does not end":      endless,
		"an unknown kind":                        delimited(unknown, 1),
		"an unknown kind with a body":            delimited(15<<3|2, 3, 'a', 'b', 'c'),
		"data behind another field":              delimited(unknown, 1, dataTag, 1, 'x'),
		"another field behind data":              delimited(dataTag, 1, 'x', unknown, 1),
		"data twice":                             delimited(dataTag, 1, 'x', dataTag, 1, 'x'),
		"data behind an end":                     delimited(5<<3|2, 0, dataTag, 1, 'x'),
		"data with an overlong tag":              delimited(dataTag|0x80, 0, 1, 'x'),
		"data that is longer than its chunk":     delimited(dataTag, 2, 'x'),
		"data that is shorter than its chunk":    delimited(dataTag, 1, 'x', 'y'),
		"data without a length":                  delimited(dataTag),
		"a data length varint that does not end": announced(100, append([]byte{dataTag}, endless...)...),
		"a control chunk that is not protobuf":   delimited(1<<3|2, 9, 'x'),
		"a name that is not UTF-8":               delimited(1<<3|2, 3, 1<<3|2, 1, 0xff),
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			// The end chunk behind it keeps the input from being a truncated one.
			input = append(input, controlChunk(endChunk())...)
			for split, r := range map[string]io.Reader{
				"in one go":          bytes.NewReader(input),
				"one byte at a time": iotest.OneByteReader(bytes.NewReader(input)),
			} {
				items, err := decodeAll(r)
				var wrong protocolError
				if len(items) != 0 || !errors.As(err, &wrong) {
					t.Errorf("read %s: %v and %v; want nothing but a protocol error", split, items, err)
				}
			}
		})
	}
}

func TestOverLimitChunkIsRefusedBeforeItArrives(t *testing.T) {
	for name, input := range map[string][]byte{
		"data":    binary.AppendUvarint(announced(maxData+5, dataTag), maxData+1),
		"control": announced(maxControl+1, 1<<3|2),
	} {
		_, err := decodeAll(iotest.DataErrReader(bytes.NewReader(input)))
		var wrong protocolError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: the header alone gave %v; want a protocol error, nothing may be allocated for the rest", name, err)
		}
	}
}

func TestDecoderGoesOnAfterAnInterruption(t *testing.T) {
	want := abortChunk(AbortReset, strings.Repeat("x", 100))
	all := append(controlChunk(want), dataChunk(pattern(200))...)
	for n := range len(all) {
		d := decoder{src: &interrupted{before: bytes.NewReader(all[:n]), after: bytes.NewReader(all[n:])}}
		chunk := nextInSpiteOfTimeouts(t, &d)
		if data := nextInSpiteOfTimeouts(t, &d); data != nil || d.left != 200 || !proto.Equal(chunk, want) {
			t.Fatalf("interrupted after %d bytes: the chunk was %v, and then %v with %d bytes of data; want %v, and 200 bytes", n, chunk, data, d.left, want)
		}
	}
}

// interrupted is a reader that runs into a deadline once.
type interrupted struct {
	before, after io.Reader
	passed        bool
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.passed {
		return i.after.Read(p)
	}
	n, err := i.before.Read(p)
	if err == io.EOF {
		i.passed, err = true, iotest.ErrTimeout
	}
	return n, err
}

func nextInSpiteOfTimeouts(t *testing.T, d *decoder) *relayv1.Chunk {
	t.Helper()
	for {
		chunk, err := d.next()
		if err == nil {
			return chunk
		}
		if err != iotest.ErrTimeout {
			t.Fatalf("next: %v; want the chunk, since only a deadline passed", err)
		}
	}
}

func TestDataPathAllocatesNothing(t *testing.T) {
	b := borrow(mostChunk)
	defer giveBack(b)
	copy(b.payload(), pattern(chunkSize))
	src := bytes.NewReader(nil)
	d := &decoder{src: src}
	out := make([]byte, chunkSize)
	for _, n := range []int{1, 1000, chunkSize} {
		allocs := testing.AllocsPerRun(100, func() {
			src.Reset(b.sealData(n))
			if chunk, err := d.next(); chunk != nil || err != nil {
				t.Fatalf("next: %v, %v; want data", chunk, err)
			}
			for d.left > 0 {
				if _, err := d.readPayload(out); err != nil {
					t.Fatalf("readPayload: %v", err)
				}
			}
		})
		if allocs != 0 {
			t.Errorf("a data chunk of %d bytes cost %v allocations; want none on the data path", n, allocs)
		}
	}
}

func TestDecoderRefusesALengthThatIsNotMinimal(t *testing.T) {
	items, err := decodeAll(bytes.NewReader(delimited(dataTag, 0x81, 0, 'x')))
	if len(items) != 0 {
		t.Errorf("got %v, %v; want it refused", items, err)
	}
}

func TestDecoderRefusesAChunkOfTwoKinds(t *testing.T) {
	items, err := decodeAll(bytes.NewReader(delimited(2<<3|2, 0, 5<<3|2, 0)))
	if len(items) != 0 {
		t.Errorf("got %v, %v; want it refused", items, err)
	}
}
