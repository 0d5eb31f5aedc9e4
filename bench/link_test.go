package main

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// over returns the two ends of a connection over a Link, in a bubble.
func over(t *testing.T, l *Link) (near, far net.Conn) {
	t.Helper()
	near, a := net.Pipe()
	b, far := net.Pipe()
	go l.join(t.Context(), a, b)
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
		time.Sleep(time.Second) // what is under way arrives
		synctest.Wait()
	})
	return near, far
}

func TestLinkDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := over(t, &Link{Delay: 20 * time.Millisecond})
		began := time.Now()
		_, _ = near.Write([]byte("x"))
		_, _ = io.ReadFull(far, make([]byte, 1))
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("a byte took %v; want the delay, 20ms", took)
		}
	})
}

// All connections together get the rate, and no more.
func TestLinkSharesItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Link{Delay: 20 * time.Millisecond, Rate: 8_000_000}
		began := time.Now()
		done := make(chan struct{}, 4)
		for range 4 {
			near, far := over(t, l)
			go func() { _, _ = near.Write(make([]byte, 500_000)) }()
			go func() {
				_, _ = io.ReadFull(far, make([]byte, 500_000))
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
		if took := time.Since(began).Round(time.Millisecond); took != 2020*time.Millisecond {
			t.Errorf("2 MB at 1 MB/s took %v; want 2.02s", took)
		}
	})
}

// What waits in the queue is bounded: that much is accepted at once, no more.
func TestLinkBoundsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := over(t, &Link{Rate: 8_000_000, Queue: 100_000})
		go func() { _, _ = io.Copy(io.Discard, far) }()
		began := time.Now()
		_, _ = near.Write(make([]byte, 300_000))
		if took := time.Since(began); took < 190*time.Millisecond || took > 205*time.Millisecond {
			t.Errorf("300 kB were accepted in %v; want about 0.2 s, when 200 kB have been sent", took)
		}
	})
}
