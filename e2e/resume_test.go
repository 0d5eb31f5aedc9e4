package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// stream is an endless sequence of bytes that a seed reproduces.
func stream(seed int) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 's'})
}

// sendUntil writes a stream for a while, and returns how much. It goes easy: the
// transfer is to be under way whenever the path is cut, not to fill it.
func sendUntil(w io.Writer, seed int, end time.Time) (total int64, err error) {
	source := stream(seed)
	b := make([]byte, 32<<10)
	for time.Now().Before(end) {
		_, _ = source.Read(b)
		n, err := w.Write(b)
		total += int64(n)
		if err != nil {
			return total, err
		}
		time.Sleep(time.Millisecond)
	}
	return total, nil
}

// checkStream reads until EOF and compares with the stream.
func checkStream(r io.Reader, seed int) (total int64, err error) {
	source := stream(seed)
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := r.Read(got)
		_, _ = source.Read(want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			return total, fmt.Errorf("the bytes from %d on are not those that were sent", total)
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// transfers runs four uploads and four downloads at once for a while, and checks
// that every byte arrives and every end is a clean EOF.
func transfers(t *testing.T, p *pair, last time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	end := time.Now().Add(last)
	for seed := range 4 {
		sent := make(chan int64, 1)
		down := p.connectFor(target(t, func(c *net.TCPConn) {
			n, err := sendUntil(c, seed, end)
			if err != nil {
				t.Errorf("download %d: the target: %v", seed, err)
			}
			sent <- n
		}), last+patience)
		all.Go(func() {
			got, err := checkStream(down, seed)
			if want := <-sent; err != nil || got != want {
				t.Errorf("download %d: %d bytes of %d, then %v; want all, and a clean EOF", seed, got, want, err)
			}
			_ = down.Close()
		})

		received := make(chan int64, 1)
		up := p.connectFor(target(t, func(c *net.TCPConn) {
			n, err := checkStream(c, 100+seed)
			if err != nil {
				t.Errorf("upload %d: the target: %v", seed, err)
			}
			received <- n
		}), last+patience)
		all.Go(func() {
			want, err := sendUntil(up, 100+seed, end)
			if err == nil {
				err = up.CloseWrite()
			}
			if got := <-received; err != nil || got != want {
				t.Errorf("upload %d: %d bytes of %d, %v; want all", seed, got, want, err)
			}
			mustEnd(t, up)
		})
	}
	all.Wait()
}

func TestTransfersSurviveCuts(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cuts := 0
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(700 * time.Millisecond):
				path.cut()
				cuts++
			}
		}
	})
	transfers(t, p, 20*time.Second)
	close(stop)
	cutter.Wait()
	if n := len(p.logs.lines("half=client", "session resumed")); n < cuts*8/10 || cuts < 20 {
		t.Errorf("the session was resumed %d times in %d cuts; want nearly each, and 20 cuts or more", n, cuts)
	}
}

func TestTransfersSurviveABlackHole(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	go func() {
		time.Sleep(time.Second)
		path.freeze()
		time.Sleep(12 * time.Second)
		path.thaw()
	}()
	transfers(t, p, 16*time.Second)
	if len(p.logs.lines("half=client", "connection lost")) == 0 {
		t.Error("the client did not notice the black hole")
	}
}

// Interactive tunnels notice a pause at most. How long it is stands in the log:
// a test on a busy machine can't assert it.
func TestInteractiveTunnelsWhileCut(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		p, path := pairOver(t, delay)
		address := target(t, echo)
		var all sync.WaitGroup
		pauses := make([]time.Duration, 20)
		end := time.Now().Add(4 * time.Second)
		for i := range pauses {
			one := p.connect(address)
			all.Go(func() {
				ping, pong := make([]byte, 8), make([]byte, 8)
				for n := 0; time.Now().Before(end); n++ {
					ping[0] = byte(n)
					began := time.Now()
					if _, err := one.Write(ping); err != nil {
						t.Errorf("tunnel %d: %v", i, err)
						return
					}
					if _, err := io.ReadFull(one, pong); err != nil || !bytes.Equal(ping, pong) {
						t.Errorf("tunnel %d: %x for %x, %v", i, pong, ping, err)
						return
					}
					pauses[i] = max(pauses[i], time.Since(began))
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		for range 10 {
			time.Sleep(350 * time.Millisecond)
			path.cut()
		}
		all.Wait()
		t.Logf("at a round trip of %v, cut ten times: the longest pause was %v", 2*delay, slices.Max(pauses))
	}
}

// Longer than the resume window: the tools get a reset, and the next CONNECT
// works.
func TestOutageLongerThanTheWindow(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0, func(s *testserver.Config, _ *client.Config) { s.ResumeWindow = time.Second })
	ended := make(chan error, 1)
	one := p.connect(target(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	}))
	path.freeze()
	path.cut()
	mustReset(t, "the tool", one)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target: %v, want a reset", err)
	}
	path.thaw()
	again := p.connect(target(t, echo))
	_, _ = io.WriteString(again, "again")
	mustRead(t, again, []byte("again"))
	if n := len(p.logs.lines("half=server", "could not be resumed in 1s")); n == 0 {
		t.Error("the endpoint's log does not say why the tunnels were cut")
	}
}
