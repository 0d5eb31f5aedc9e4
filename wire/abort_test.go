package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	relayv1 "ferry/proto/relay/v1"
)

// begin runs a call that is going to block, and returns where its error comes.
func begin(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// blockedWrite begins a Write that the far end's window can't take, and returns
// once it has blocked.
func blockedWrite(t *testing.T, near *Conn, far *memStream) <-chan error {
	t.Helper()
	done := begin(func() error {
		_, err := near.Write(pattern(4 * chunkSize))
		return err
	})
	far.in.mu.Lock()
	defer far.in.mu.Unlock()
	for len(far.in.data) < far.in.window {
		far.in.changed.Wait()
	}
	return done
}

func TestStreamThatEndsWithoutEndIsNeverEOF(t *testing.T) {
	chunk := dataChunk(pattern(1000))
	for name, after := range map[string]int{
		"between chunks":     len(chunk),
		"inside a header":    2,
		"behind a header":    len(chunk) - 1000,
		"inside the payload": len(chunk) - 1,
	} {
		t.Run(name, func(t *testing.T) {
			near, far, _ := opened(t, chunkSize)
			put(t, far, chunk[:after])
			_ = far.Close()
			got, err := io.ReadAll(near)
			wantAbort(t, "ReadAll", err, AbortError{Code: AbortCut})
			if want := max(0, after-(len(chunk)-1000)); len(got) != want {
				t.Errorf("%d bytes were read; want the %d that came before the cut", len(got), want)
			}
			_, err = near.Read(make([]byte, 1))
			wantAbort(t, "Read again", err, AbortError{Code: AbortCut})
		})
	}
}

func TestWriteToReportsACut(t *testing.T) {
	near, far, _ := opened(t, chunkSize)
	put(t, far, dataChunk(pattern(1000)))
	_ = far.Close()
	var got bytes.Buffer
	n, err := io.Copy(&got, near)
	wantAbort(t, "Copy", err, AbortError{Code: AbortCut})
	if n != 1000 || got.Len() != 1000 {
		t.Errorf("Copy passed %d bytes on and returned %d; want the 1000 that came before the cut", got.Len(), n)
	}
}

func TestLostStreamIsACutWithItsCause(t *testing.T) {
	near, far, _ := opened(t, chunkSize)
	why := errors.New("the session has ended")
	_ = far.lose(why)
	_, err := near.Read(make([]byte, 1))
	wantAbort(t, "Read", err, AbortError{Code: AbortCut})
	if !errors.Is(err, why) {
		t.Errorf("Read: %v; want it to wrap the stream's own error, %v", err, why)
	}
}

func TestEndIsEOFAndLeavesTheOtherDirectionOpen(t *testing.T) {
	near, far, fromNear := opened(t, chunkSize)
	put(t, far, dataChunk(pattern(10)), controlChunk(endChunk()))
	if got, err := io.ReadAll(near); err != nil || len(got) != 10 {
		t.Errorf("read %d bytes, %v; want 10, then EOF", len(got), err)
	}
	if _, err := near.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read again: %v; want io.EOF, it sticks", err)
	}
	if _, err := near.Write(pattern(20)); err != nil {
		t.Errorf("Write after the far end's End: %v; want nil, End is a half-close", err)
	}
	wantData(t, fromNear, pattern(20))
}

func TestRemoteAbortFreesABlockedWriter(t *testing.T) {
	near, far, _ := opened(t, 1000)
	writing := blockedWrite(t, near, far)
	reading := begin(func() error { _, err := near.Read(make([]byte, 1)); return err })
	put(t, far, controlChunk(abortChunk(AbortReset, "the target reset it")))
	want := AbortError{Code: AbortReset, Detail: "the target reset it", Remote: true}
	wantAbort(t, "the blocked Read", <-reading, want)
	wantAbort(t, "the blocked Write", <-writing, want)
	_, err := near.Write([]byte("x"))
	wantAbort(t, "Write afterwards", err, want)
	wantAbort(t, "CloseWrite afterwards", near.CloseWrite(), want)
}

func TestRemoteAbortDropsNothingInFrontOfIt(t *testing.T) {
	near, far, _ := opened(t, chunkSize)
	put(t, far, dataChunk(pattern(1000)), controlChunk(abortChunk(AbortReset, "")))
	got, err := io.ReadAll(near)
	wantAbort(t, "ReadAll", err, AbortError{Code: AbortReset, Remote: true})
	if !bytes.Equal(got, pattern(1000)) {
		t.Errorf("%d bytes were read; want all 1000 that came before the abort", len(got))
	}
}

func TestUnknownAbortIsUnspecified(t *testing.T) {
	near, far, _ := opened(t, chunkSize)
	put(t, far, controlChunk(abortChunk(99, "")))
	_, err := near.Read(make([]byte, 1))
	wantAbort(t, "Read", err, AbortError{Code: AbortUnspecified, Remote: true})
}

func TestLocalAbortFreesABlockedReaderAndTellsThePeer(t *testing.T) {
	near, _, fromNear := opened(t, chunkSize)
	reading := begin(func() error { _, err := near.Read(make([]byte, 1)); return err })
	if err := near.Abort(AbortTimeout, "too slow"); err != nil {
		t.Errorf("Abort: %v; want nil", err)
	}
	wantAbort(t, "the blocked Read", <-reading, AbortError{Code: AbortTimeout, Detail: "too slow"})
	abort := wantControl(t, fromNear).GetAbort()
	if abort.GetCode() != relayv1.Abort_CODE_TIMEOUT || abort.GetDetail() != "too slow" {
		t.Errorf("the far end was told %v; want the code and the detail of Abort", abort)
	}
	wantEOF(t, fromNear)
}

func TestLocalAbortFreesABlockedWriter(t *testing.T) {
	near, far, fromNear := opened(t, 1000)
	writing := blockedWrite(t, near, far)
	if err := near.Abort(AbortReset, "gone"); err != nil {
		t.Errorf("Abort: %v; want nil although the far end reads nothing", err)
	}
	wantAbort(t, "the blocked Write", <-writing, AbortError{Code: AbortReset, Detail: "gone"})
	_, err := fromNear.next()
	for err == nil {
		if _, err = readPayloads(fromNear); err == nil {
			_, err = fromNear.next()
		}
	}
	if err != io.ErrUnexpectedEOF {
		t.Errorf("the far end read %v; want %v, the stream was given up inside a chunk", err, io.ErrUnexpectedEOF)
	}
}

func TestAbortTwiceAndCloseAfterwardsDoNothing(t *testing.T) {
	near, _, fromNear := opened(t, chunkSize)
	for _, again := range []func() error{
		func() error { return near.Abort(AbortReset, "first") },
		func() error { return near.Abort(AbortTimeout, "second") },
		near.Close,
	} {
		if err := again(); err != nil {
			t.Errorf("giving the tunnel up again: %v; want nil", err)
		}
	}
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetDetail() != "first" {
		t.Errorf("the far end was told %v; want the first abort", abort)
	}
	wantEOF(t, fromNear)
	_, err := near.Write([]byte("x"))
	wantAbort(t, "Write", err, AbortError{Code: AbortReset, Detail: "first"})
}

func TestPeerThatBreaksTheProtocolIsTold(t *testing.T) {
	near, far := memPipe(chunkSize)
	put(t, near, dataChunk([]byte("x")))
	_, _, err := Accept(t.Context(), far)
	wantAbort(t, "Accept", err, AbortError{Code: AbortProtocolError})
	if abort := wantControl(t, &decoder{src: near}).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_PROTOCOL_ERROR {
		t.Errorf("the peer was told %v; want the reason", abort)
	}
}

func TestLongDetailIsNotCutInsideARune(t *testing.T) {
	near, _, fromNear := opened(t, chunkSize)
	_ = near.Abort(AbortReset, "x"+strings.Repeat("é", 300))
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_RESET {
		t.Errorf("the peer was told %v; want the reason", abort)
	}
}
