package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

func TestCloseDeliversWhatWasWritten(t *testing.T) {
	a, b := memPipe(2 * chunkSize)
	near, far := handshake(t, a, b)
	if _, err := near.Write(pattern(chunkSize + 1)); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if err := near.Close(); err != nil {
		t.Errorf("Close: %v; want nil", err)
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, pattern(chunkSize+1)) {
		t.Errorf("the far end read %d bytes and %v; want all %d, then a clean EOF", len(got), err, chunkSize+1)
	}
	if err := far.Close(); err != nil {
		t.Errorf("Close of the far end: %v; want nil", err)
	}
}

func TestCloseDeliversWhatAFullWindowHoldsUp(t *testing.T) {
	near, far, fromNear := opened(t, 1000)
	writing := begin(func() error { _, err := near.Write(pattern(2000)); return err })
	wantData(t, fromNear, pattern(2000))
	if err := <-writing; err != nil {
		t.Fatalf("Write: %v", err)
	}
	_, _ = near.Write(pattern(900))
	_ = near.Close()
	wantData(t, fromNear, pattern(900))
	if end := wantControl(t, fromNear); end.GetEnd() == nil {
		t.Errorf("then came %v; want End", end)
	}
	put(t, far, controlChunk(endChunk()))
	wantEOF(t, fromNear)
}

func TestCloseWhileThePeerSendsAbortsIt(t *testing.T) {
	near, far, fromNear := opened(t, chunkSize)
	_ = near.Close()
	if end := wantControl(t, fromNear); end.GetEnd() == nil {
		t.Errorf("the far end was told %v; want End first", end)
	}
	put(t, far, dataChunk([]byte("more")))
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_CANCELED {
		t.Errorf("the far end was told %v; want an abort, nobody reads its data", abort)
	}
	wantEOF(t, fromNear)
}

func TestCloseWithUnreadDataAbortsThePeer(t *testing.T) {
	near, far, fromNear := opened(t, chunkSize)
	put(t, far, dataChunk(pattern(100)))
	if n, err := near.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Fatalf("Read: %d, %v; want 10 bytes", n, err)
	}
	_ = near.Close()
	wantControl(t, fromNear)
	if abort := wantControl(t, fromNear).GetAbort(); abort.GetCode() != relayv1.Abort_CODE_CANCELED {
		t.Errorf("behind End came %v; want an abort, 90 bytes were not read", abort)
	}
}

func TestCloseFreesBlockedCalls(t *testing.T) {
	// In a bubble, since the chunk that was begun is kept for the far end a while.
	synctest.Test(t, func(t *testing.T) {
		near, far, _ := opened(t, 1000)
		writing := blockedWrite(t, near, far)
		reading := begin(func() error { _, err := near.Read(make([]byte, 1)); return err })
		_ = near.Close()
		if err := <-reading; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the blocked Read: %v; want net.ErrClosed", err)
		}
		if err := <-writing; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the blocked Write: %v; want net.ErrClosed", err)
		}
		if err := near.Close(); err != nil {
			t.Errorf("Close again: %v; want nil", err)
		}
		time.Sleep(linger)
	})
}

func TestCloseBehindBothEndsClosesTheStream(t *testing.T) {
	near, far, fromNear := opened(t, chunkSize)
	put(t, far, controlChunk(endChunk()))
	if _, err := near.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("Read: %v; want io.EOF", err)
	}
	if err := near.CloseWrite(); err != nil {
		t.Fatalf("CloseWrite: %v", err)
	}
	_ = near.Close()
	if end := wantControl(t, fromNear); end.GetEnd() == nil {
		t.Errorf("the far end was told %v; want End", end)
	}
	wantEOF(t, fromNear)
}

func TestCloseWaitsForThePeerForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, fromNear := opened(t, chunkSize)
		start := time.Now()
		_ = near.Close()
		if end := wantControl(t, fromNear); end.GetEnd() == nil {
			t.Errorf("the far end was told %v; want End", end)
		}
		if abort := wantControl(t, fromNear).GetAbort(); abort == nil {
			t.Errorf("a far end that does not end its direction was told nothing; want an abort")
		}
		wantEOF(t, fromNear)
		if took := time.Since(start); took != linger {
			t.Errorf("the stream was given up after %v; want %v", took, linger)
		}
	})
}

func TestCloseOfATunnelNobodyReadsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, _ := opened(t, 1000)
		_, _ = near.Write(pattern(995)) // with its header that fills the window
		_ = near.Close()
		time.Sleep(linger)
		synctest.Wait()
		if far.in.ended == nil {
			t.Errorf("the stream was not closed %v after Close; want that, although the far end reads nothing", linger)
		}
	})
}

func TestWriteAfterCloseWriteFails(t *testing.T) {
	near, _, fromNear := opened(t, chunkSize)
	for range 2 {
		if err := near.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v; want nil, also the second time", err)
		}
	}
	for _, p := range [][]byte{nil, []byte("x")} {
		if n, err := near.Write(p); n != 0 || err != ErrWriteClosed {
			t.Errorf("Write of %d bytes: %d, %v; want ErrWriteClosed", len(p), n, err)
		}
	}
	if n, err := near.ReadFrom(bytes.NewReader(pattern(10))); n != 0 || err != ErrWriteClosed {
		t.Errorf("ReadFrom: %d, %v; want ErrWriteClosed", n, err)
	}
	if end := wantControl(t, fromNear); end.GetEnd() == nil {
		t.Errorf("the far end was told %v; want End", end)
	}
	_ = near.Abort(AbortReset, "")
	if abort := wantControl(t, fromNear); abort.GetAbort() == nil {
		t.Errorf("behind End came %v; want the abort and no data", abort)
	}
}

func TestCloseDeliversAChunkThatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, fromNear := opened(t, 1000)
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := near.Write(pattern(2000))
		if n != 2000 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write: %d, %v; want 2000 bytes accepted, and the deadline", n, err)
		}
		_ = near.Close()
		wantData(t, fromNear, pattern(n))
	})
}
