package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWriteDeadlineInsideAChunkLeavesTheStreamWhole(t *testing.T) {
	for name, window := range windows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, _, fromNear := opened(t, window)
				_ = near.SetWriteDeadline(time.Now().Add(time.Second))
				start := time.Now()
				n, err := near.Write(pattern(10 * chunkSize))
				if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
					t.Fatalf("Write: %v after %v; want the deadline, after exactly 1 s", err, time.Since(start))
				}
				_ = near.SetWriteDeadline(time.Time{})
				writing := begin(func() error {
					_, err := near.Write([]byte("and then"))
					return errors.Join(err, near.CloseWrite())
				})
				var got []byte
				for chunk, err := fromNear.next(); chunk.GetEnd() == nil; chunk, err = fromNear.next() {
					if chunk != nil || err != nil {
						t.Fatalf("%v, %v behind %d bytes; want data, then End", chunk, err, len(got))
					}
					payload, err := readPayloads(fromNear)
					if got = append(got, payload...); err != nil {
						t.Fatalf("%v behind %d bytes; want data, then End", err, len(got))
					}
				}
				if err := <-writing; err != nil {
					t.Errorf("Write after the deadline was lifted: %v; want nil", err)
				}
				want := slices.Concat(pattern(10 * chunkSize)[:n], []byte("and then"))
				if !bytes.Equal(got, want) {
					t.Errorf("the far end got %d bytes; want exactly the %d that Write reported, and the %d after them", len(got), n, len(want)-n)
				}
			})
		})
	}
}

func TestReadDeadlineInsideAChunkLosesNothing(t *testing.T) {
	want := pattern(300)
	chunks := append(dataChunk(want), controlChunk(endChunk())...)
	for _, cut := range []int{1, 2, 3, 4, 5, 100, len(chunks) - 3, len(chunks) - 1} {
		synctest.Test(t, func(t *testing.T) {
			near, far, _ := opened(t, chunkSize)
			put(t, far, chunks[:cut])
			_ = near.SetReadDeadline(time.Now().Add(time.Second))
			got, err := io.ReadAll(near)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("after %d bytes: %v; want the deadline", cut, err)
			}
			_ = near.SetReadDeadline(time.Time{})
			put(t, far, chunks[cut:])
			rest, err := io.ReadAll(near)
			if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("interrupted after %d bytes: %d bytes and %v; want all %d and EOF", cut, len(got), err, len(want))
			}
		})
	}
}

func TestHandshakeDeadlineLeavesTheTunnelUsable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, _ := asked(t)
		_ = near.SetReadDeadline(time.Now().Add(time.Second))
		if err := near.Handshake(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Handshake: %v; want the deadline", err)
		}
		_ = near.SetReadDeadline(time.Time{})
		put(t, far, controlChunk(connectedChunk()))
		if err := near.Handshake(t.Context()); err != nil {
			t.Errorf("Handshake after the deadline was lifted: %v; want nil", err)
		}
	})
}

func TestAbortIsNotBoundByTheDeadline(t *testing.T) {
	near, _, fromNear := opened(t, chunkSize)
	_ = near.SetDeadline(time.Unix(1, 0))
	if _, err := near.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v; want the deadline", err)
	}
	_ = near.Abort(AbortTimeout, "")
	if abort := wantControl(t, fromNear); abort.GetAbort() == nil {
		t.Errorf("the far end was told %v; want the abort in spite of the user's deadline", abort)
	}
}
