package mux

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/yamux"
)

// shrinking returns a running shrinker, and a channel with the times at which no
// stream was busy any more.
func shrinking(t *testing.T) (*shrinker, <-chan time.Time) {
	t.Helper()
	calm := make(chan time.Time, 1000)
	s := newShrinker(func() { calm <- time.Now() })
	ended, done := make(chan struct{}), make(chan struct{})
	go func() { s.run(ended); close(done) }()
	t.Cleanup(func() { close(ended); <-done })
	return s, calm
}

// idleStream returns a stream of a session that is nothing but a shrinker: it can be
// busy, but not be read.
func idleStream(s *shrinker) *Stream {
	return &Stream{yam: new(yamux.Stream), session: &Session{shrinker: s}}
}

func (s *shrinker) watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy)
}

func TestShrinkerLetsGoOfStreamsThatAreCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calm := shrinking(t)
		streams := []*Stream{idleStream(s), idleStream(s), idleStream(s)}
		for i := range 3 { // a stream that is busy again is looked after again
			for _, stream := range streams {
				stream.stirred()
				stream.stirred()
			}
			time.Sleep(10 * calmTime)
			if n := s.watched(); n != 0 {
				t.Errorf("burst %d: %d streams are looked after; want none, all are calm", i, n)
			}
			for _, stream := range streams {
				if stream.swollen.Load() {
					t.Errorf("burst %d: a stream counts as busy; want it calm, it would not be looked after again", i)
				}
			}
			if len(calm) == 0 {
				t.Errorf("burst %d: nobody was told that all are calm", i)
			}
			for len(calm) > 0 {
				<-calm
			}
		}
	})
}

func TestShrinkerRestsWhenNobodyIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calm := shrinking(t)
		time.Sleep(time.Hour)
		if len(calm) != 0 {
			t.Errorf("it became calm %d times; want never, nothing has stirred", len(calm))
		}
		idleStream(s).stirred()
		time.Sleep(time.Hour)
		if len(calm) != 1 {
			t.Errorf("it became calm %d times; want once, there was one read", len(calm))
		}
	})
}

func TestShrinkerNeedsNobodyWhoListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShrinker(nil)
		ended, done := make(chan struct{}), make(chan struct{})
		go func() { s.run(ended); close(done) }()
		idleStream(s).stirred()
		time.Sleep(10 * calmTime)
		if n := s.watched(); n != 0 {
			t.Errorf("%d streams are looked after; want none, all are calm", n)
		}
		close(ended)
		<-done
	})
}

func TestShrinkerEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShrinker(func() { t.Error("it became calm; want nobody told, the session has ended before") })
		ended, done := make(chan struct{}), make(chan struct{})
		close(ended)
		stream := idleStream(s)
		go func() { s.run(ended); close(done) }()
		<-done
		stream.stirred() // the last reads come after the end, and must not block
		stream.stirred()
	})
}

// A real session: yamux's buffers of two streams have swollen, and it is calm then.
// Of one stream all has been read, so that its buffer goes; the other's has data left.
func TestDataIsIntactAfterAShrink(t *testing.T) {
	calm := make(chan struct{}, 1000)
	client, server := pair(t, Config{OnCalm: func() { calm <- struct{}{} }})
	type burst struct {
		near, far *Stream
		want, got []byte
		first     int // how much is read before it is calm
	}
	bursts := []*burst{{first: 200_000}, {first: 100_000}}
	for i, b := range bursts {
		var err error
		if b.near, err = client.Open(); err != nil {
			t.Fatalf("Open: %v", err)
		}
		defer b.near.Close()
		if b.far, err = server.Accept(); err != nil {
			t.Fatalf("Accept: %v", err)
		}
		defer b.far.Close()
		b.want = noise(uint64(i), 400_000)
		b.got = make([]byte, len(b.want))
		for piece := range slices.Chunk(b.want[:200_000], 16<<10) { // within the window
			mustWrite(t, b.near, piece)
		}
		if _, err := io.ReadFull(b.far, b.got[:b.first]); err != nil {
			t.Fatalf("Read: %v", err)
		}
	}
	timeout := time.After(30 * time.Second)
	for bursts[0].far.swollen.Load() || bursts[1].far.swollen.Load() {
		select {
		case <-calm:
		case <-timeout:
			t.Fatal("streams that nobody reads are still taken for busy after 30 s")
		}
	}
	for i, b := range bursts {
		go func() {
			for piece := range slices.Chunk(b.want[200_000:], 16<<10) {
				_, _ = b.near.Write(piece)
			}
		}()
		if _, err := io.ReadFull(b.far, b.got[b.first:]); err != nil {
			t.Fatalf("Read: %v", err)
		}
		if !bytes.Equal(b.got, b.want) {
			t.Errorf("stream %d: what was read in front of and behind a shrink differs from what was written", i)
		}
	}
}

func TestStreamIsNotShrunkWhileItIsRead(t *testing.T) {
	for _, pause := range []time.Duration{time.Millisecond, 100 * time.Millisecond, calmTime / 2} {
		synctest.Test(t, func(t *testing.T) {
			s, calm := shrinking(t)
			stream := idleStream(s)
			start := time.Now()
			for time.Since(start) < 10*time.Second {
				stream.stirred()
				time.Sleep(pause)
			}
			if n := len(calm); n != 0 {
				t.Errorf("reads every %v: calm %d times in 10 s; want never while it is read", pause, n)
			}
			last := time.Now().Add(-pause)
			at := <-calm
			for len(calm) > 0 {
				at = <-calm
			}
			if took := at.Sub(last); took < calmTime {
				t.Errorf("reads every %v: calm %v after the last one; want %v at least", pause, took, calmTime)
			}
			time.Sleep(time.Minute)
			if n := len(calm); n != 0 {
				t.Errorf("reads every %v: calm %d times more after a burst; want once", pause, n)
			}
		})
	}
}
