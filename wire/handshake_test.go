package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	relayv1 "ferry/proto/relay/v1"
)

// wantControl reads the next chunk, which must not be data.
func wantControl(t *testing.T, d *decoder) *relayv1.Chunk {
	t.Helper()
	chunk, err := d.next()
	if err != nil || chunk == nil {
		t.Fatalf("the next chunk is %v with %d bytes of data, error %v; want a control chunk", chunk, d.left, err)
	}
	return chunk
}

// wantData reads chunks until it has len(want) bytes of data.
func wantData(t *testing.T, d *decoder, want []byte) {
	t.Helper()
	var got []byte
	for len(got) < len(want) {
		chunk, err := d.next()
		if err != nil || chunk != nil {
			t.Fatalf("%v and error %v after %d bytes of data; want %d", chunk, err, len(got), len(want))
		}
		payload, err := readPayloads(d)
		got = append(got, payload...)
		if err != nil {
			t.Fatalf("%v after %d bytes of data; want %d", err, len(got), len(want))
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the data differs from what was written")
	}
}

// wantEOF checks that the far end closed its stream between two chunks.
func wantEOF(t *testing.T, d *decoder) {
	t.Helper()
	if chunk, err := d.next(); err != io.EOF {
		t.Errorf("then came %v with %d bytes of data, error %v; want the stream to be closed", chunk, d.left, err)
	}
}

func TestRefusalReachesEveryCall(t *testing.T) {
	near, far, _ := asked(t)
	put(t, far, controlChunk(refusedChunk(DNSError, "no such name")))
	_ = far.Close()
	check := func(call string, err error) {
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != DNSError || refused.Detail != "no such name" {
			t.Errorf("%s: %v; want a *RefusedError with dns_error and the detail, it sticks", call, err)
		}
	}
	check("Handshake", near.Handshake(t.Context()))
	check("Handshake again", near.Handshake(t.Context()))
	_, err := near.Read(make([]byte, 1))
	check("Read", err)
	_, err = near.Write([]byte("x"))
	check("Write", err)
	check("CloseWrite", near.CloseWrite())
}

// Whoever is told of the answer is told before the calls that wait for it.
func TestOnAnswerComesFirst(t *testing.T) {
	for name, c := range map[string]struct {
		chunk *relayv1.Chunk
		want  string
	}{
		"Connected": {connectedChunk(), "true"},
		"Refused":   {refusedChunk(DNSError, ""), "false"},
		"an abort":  {abortChunk(AbortInternalError, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, _ := asked(t)
			var told string
			near.OnAnswer(func(connected bool) { told += strconv.FormatBool(connected) })
			put(t, far, controlChunk(c.chunk))
			_ = near.Handshake(t.Context())
			if told != c.want {
				t.Errorf("told %q; want %q", told, c.want)
			}
		})
	}
}

func TestUnknownRefusalIsAnInternalError(t *testing.T) {
	for _, code := range []RefusalCode{0, 99, -1} {
		near, far, _ := asked(t)
		put(t, far, controlChunk(refusedChunk(code, "")))
		var refused *RefusedError
		if err := near.Handshake(t.Context()); !errors.As(err, &refused) || refused.Code != ProxyInternalError {
			t.Errorf("code %d gave %v; want %v, since this version does not know it", code, err, ProxyInternalError)
		}
	}
}

func TestRefusalCodesHaveTheNamesOfRFC9209(t *testing.T) {
	for code, want := range map[RefusalCode]string{
		DNSTimeout:              "dns_timeout",
		DestinationIPProhibited: "destination_ip_prohibited",
		ConnectionLimitReached:  "connection_limit_reached",
		HTTPRequestDenied:       "http_request_denied",
		ProxyInternalError:      "proxy_internal_error",
	} {
		if got := code.String(); got != want {
			t.Errorf("code %d is called %q; want %q", code, got, want)
		}
	}
}

func TestChunkOutOfItsPlaceIsAProtocolError(t *testing.T) {
	end, connected := controlChunk(endChunk()), controlChunk(connectedChunk())
	for name, chunks := range map[string][][]byte{
		"data before the answer":      {dataChunk([]byte("x"))},
		"an end before the answer":    {end},
		"Connect from the far end":    {controlChunk(connectChunk(example))},
		"a second answer":             {connected, connected},
		"a refusal behind the answer": {connected, controlChunk(refusedChunk(DNSError, ""))},
		"an empty chunk":              {connected, {0}},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, _ := asked(t)
			put(t, far, chunks...)
			_, err := near.Read(make([]byte, 1))
			wantAbort(t, "Read", err, AbortError{Code: AbortProtocolError})
			wantAbort(t, "Handshake afterwards", near.Handshake(t.Context()), AbortError{Code: AbortProtocolError})
			_, err = near.Write([]byte("x"))
			wantAbort(t, "Write afterwards", err, AbortError{Code: AbortProtocolError})
		})
	}
}

func TestHandshakeRefusesDataBeforeTheAnswer(t *testing.T) {
	near, far, _ := asked(t)
	put(t, far, dataChunk([]byte("x")), controlChunk(connectedChunk()))
	wantAbort(t, "Handshake", near.Handshake(t.Context()), AbortError{Code: AbortProtocolError})
}

func TestEarlyDataArrivesRightBehindConnect(t *testing.T) {
	a, b := memPipe(chunkSize)
	near, err := Open(a, example)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	hello := []byte("hello")
	if n, err := near.Write(hello); n != len(hello) || err != nil {
		t.Fatalf("Write before the answer: %d, %v; want %d, nil: early data needs no answer", n, err, len(hello))
	}
	far, target, err := Accept(t.Context(), b)
	if err != nil || target != example {
		t.Fatalf("Accept: %v, %v; want %v", target, err, example)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, hello) {
		t.Errorf("the far end read %q, %v before it answered; want %q", got, err, hello)
	}
	_ = near.Abort(AbortCanceled, "")
	_ = far.Abort(AbortCanceled, "")
}

func TestEarlyDataOfARefusedTunnelIsDropped(t *testing.T) {
	a, b := memPipe(chunkSize)
	near, err := Open(a, example)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer near.Close()
	_, _ = near.Write([]byte("hello"))
	far, _, err := Accept(t.Context(), b)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	if err := far.Refuse(ConnectionRefused, "nobody listens"); err != nil {
		t.Errorf("Refuse: %v; want nil, the early data does not matter", err)
	}
	var refused *RefusedError
	if err := near.Handshake(t.Context()); !errors.As(err, &refused) || refused.Code != ConnectionRefused {
		t.Errorf("Handshake: %v; want %v in spite of the early data", err, ConnectionRefused)
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	near, _, fromNear := asked(t)
	why := errors.New("the tool went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := begin(func() error { return near.Handshake(ctx) })
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("Handshake: %v; want the cause of its context, %v", err, why)
	}
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_CANCELED {
		t.Errorf("the far end was told %v; want an abort with CODE_CANCELED", abort)
	}
	wantEOF(t, fromNear)
}

func TestOpenRefusesWhatNamesNoTarget(t *testing.T) {
	for _, target := range []Target{{}, {Host: "example.com"}, {Port: 443}, {Host: strings.Repeat("x", 256), Port: 443}} {
		a, b := memPipe(chunkSize)
		if _, err := Open(a, target); err == nil {
			t.Errorf("Open of %d bytes of host and port %d succeeded; want an error", len(target.Host), target.Port)
		}
		if n := len(b.in.data); n != 0 {
			t.Errorf("Open of a bad target sent %d bytes; want none", n)
		}
	}
}

func TestAcceptRefusesABadTarget(t *testing.T) {
	for name, connect := range map[string]*relayv1.Connect{
		"no host":             {Port: 443},
		"a host of 256 bytes": {Host: strings.Repeat("x", 256), Port: 443},
		"port 0":              {Host: "example.com"},
		"port 65536":          {Host: "example.com", Port: 65536},
		"port 70000":          {Host: "example.com", Port: 70000},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := memPipe(chunkSize)
			put(t, near, controlChunk(&relayv1.Chunk{Kind: &relayv1.Chunk_Connect{Connect: connect}}))
			if conn, target, err := Accept(t.Context(), far); err == nil {
				t.Fatalf("Accept gave %v, %v; want an error, this is no target", conn, target)
			}
			fromFar := &decoder{src: near}
			if refused := wantControl(t, fromFar).GetRefused(); refused.GetCode() != relayv1.Refused_CODE_HTTP_REQUEST_ERROR || refused.GetDetail() == "" {
				t.Errorf("the near end was told %v; want CODE_HTTP_REQUEST_ERROR and what is wrong", refused)
			}
			wantEOF(t, fromFar)
		})
	}
}

func TestAcceptTakesTheLongestNameAndTheLastPort(t *testing.T) {
	near, far := memPipe(chunkSize)
	want := Target{Host: strings.Repeat("x", 255), Port: 65535}
	put(t, near, controlChunk(connectChunk(want)))
	conn, got, err := Accept(t.Context(), far)
	if err != nil || got != want {
		t.Fatalf("Accept: %v, %v; want %v", got, err, want)
	}
	_ = conn.Abort(AbortCanceled, "")
}

func TestAcceptWantsConnectFirst(t *testing.T) {
	for name, chunk := range map[string][]byte{
		"data":      dataChunk([]byte("x")),
		"an end":    controlChunk(endChunk()),
		"Connected": controlChunk(connectedChunk()),
		"garbage":   bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 10),
	} {
		near, far := memPipe(chunkSize)
		put(t, near, chunk)
		_, _, err := Accept(t.Context(), far)
		wantAbort(t, "Accept of "+name, err, AbortError{Code: AbortProtocolError})
		if _, err := io.Copy(io.Discard, near); err != nil {
			t.Errorf("after %s the stream ended with %v; want it closed", name, err)
		}
	}
}

func TestAcceptOfACutStreamFails(t *testing.T) {
	connect := controlChunk(connectChunk(example))
	for n := range connect {
		near, far := memPipe(chunkSize)
		put(t, near, connect[:n])
		_ = near.Close()
		_, _, err := Accept(t.Context(), far)
		wantAbort(t, "Accept", err, AbortError{Code: AbortCut})
	}
}

func TestAcceptEndsWithItsContext(t *testing.T) {
	near, far := memPipe(chunkSize)
	why := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := begin(func() error {
		_, _, err := Accept(ctx, far)
		return err
	})
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("Accept without a Connect chunk: %v; want the cause of its context, %v", err, why)
	}
	fromFar := &decoder{src: near}
	if abort := wantControl(t, fromFar).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_TIMEOUT {
		t.Errorf("the near end was told %v; want an abort with CODE_TIMEOUT", abort)
	}
	wantEOF(t, fromFar)
}

func TestRejectRefusesWithoutReading(t *testing.T) {
	near, far := memPipe(chunkSize)
	if err := Reject(far, ConnectionLimitReached, "too many tunnels"); err != nil {
		t.Errorf("Reject: %v; want nil although no Connect chunk came", err)
	}
	fromFar := &decoder{src: near}
	refused := wantControl(t, fromFar).GetRefused()
	if refused.GetCode() != relayv1.Refused_CODE_CONNECTION_LIMIT_REACHED || refused.GetDetail() != "too many tunnels" {
		t.Errorf("the near end was told %v; want the code and the detail of Reject", refused)
	}
	wantEOF(t, fromFar)
}

func TestDetailThatIsNotUTF8IsSentAllTheSame(t *testing.T) {
	near, far := memPipe(chunkSize)
	if err := Reject(far, DNSError, "lookup \xff: no such host"); err != nil {
		t.Errorf("Reject: %v", err)
	}
	wantControl(t, &decoder{src: near})
}
