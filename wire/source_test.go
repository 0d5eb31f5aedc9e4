package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// brief is a patience that a test can wait for.
const brief = 10 * time.Millisecond

// tcpSource returns a source of a TCP connection, the connection, and its peer.
func tcpSource(t *testing.T) (s *source, conn, peer *net.TCPConn) {
	t.Helper()
	conn, peer = tcpPair(t)
	s = newSource(conn)
	if s.raw == nil {
		t.Skip("sources wait in their reader's Read on this system")
	}
	return s, conn, peer
}

// readAll reads until an error. It checks that a buffer comes with data only.
func readAll(t *testing.T, s *source, most int) (got []byte, err error) {
	t.Helper()
	for err == nil {
		var b *buffer
		var n int
		b, n, err = s.read(most)
		if n > most || (n > 0) != (b != nil) {
			t.Errorf("a read for %d bytes brought %d, and a buffer: %v; want at most as many, and a buffer only with them", most, n, b != nil)
		}
		if n > 0 {
			got = append(got, b.payload()[:n]...)
		}
		giveBack(b)
	}
	return got, err
}

func wantRead(t *testing.T, s *source, want string) {
	t.Helper()
	b, n, err := s.read(chunkSize)
	if err != nil || n == 0 || string(b.payload()[:n]) != want {
		t.Errorf("read brought %d bytes and %v; want %q, which was sent", n, err, want)
	}
	giveBack(b)
}

// beginRead begins a read and returns once it waits.
func beginRead(t *testing.T, s *source) (text <-chan string, failed <-chan error) {
	t.Helper()
	texts, errs := make(chan string, 1), make(chan error, 1)
	go func() {
		b, n, err := s.read(chunkSize)
		if err != nil {
			errs <- err
			return
		}
		texts <- string(b.payload()[:n])
		giveBack(b)
	}()
	soon(t, "the read waits", func() bool { return goroutinesIn("poll.runtime_pollWait", "wire.(*source).read(") > 0 })
	return texts, errs
}

func TestSourceReadsWhatComes(t *testing.T) {
	for _, most := range []int{1000, leastChunk, 20_000, 1 << 20} {
		s, _, peer := tcpSource(t)
		want := pattern(500_000)
		go sendAll(t, peer, want)
		if got, err := readAll(t, s, most); err != io.EOF || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes and %v, at most %d at once; want all %d in order, then io.EOF itself", len(got), err, most, len(want))
		}
	}
}

func TestSourceReportsAResetAsNetDoes(t *testing.T) {
	netConn, peer := tcpPair(t)
	sendReset(peer)
	_, err := netConn.Read(make([]byte, 1))
	var want, got *net.OpError
	if !errors.As(err, &want) || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("net's own Read: %v; want a reset", err)
	}
	s, conn, peer := tcpSource(t)
	sendReset(peer)
	_, err = readAll(t, s, chunkSize)
	if !errors.As(err, &got) || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: %v; want ECONNRESET in a *net.OpError", err)
	}
	if got.Op != "read" || got.Op != want.Op || got.Net != want.Net || !reflect.DeepEqual(got.Err, want.Err) {
		t.Errorf("read: %v; want what net says, %v", got, want)
	}
	if got.Source.String() != conn.LocalAddr().String() || got.Addr.String() != conn.RemoteAddr().String() {
		t.Errorf("the error is about %v and %v; want the connection's own addresses", got.Source, got.Addr)
	}
}

func TestSourceReadsWhatCameBeforeAnEnd(t *testing.T) {
	for name, patience := range map[string]time.Duration{"without patience": 0, "with patience": brief} {
		s, _, peer := tcpSource(t)
		s.patience = patience
		sendAll(t, peer, []byte("the last words"))
		if got, err := readAll(t, s, chunkSize); string(got) != "the last words" || err != io.EOF {
			t.Errorf("%s read %q and %v; want what was sent, then io.EOF", name, got, err)
		}
	}
}

func TestClosingTheConnectionFreesABlockedRead(t *testing.T) {
	for name, patience := range map[string]time.Duration{"without patience": 0, "with patience": time.Minute} {
		s, conn, _ := tcpSource(t)
		s.patience = patience
		_, failed := beginRead(t, s)
		_ = conn.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the blocked read %s: %v; want net.ErrClosed", name, err)
		}
		if _, _, err := s.read(chunkSize); !errors.Is(err, net.ErrClosed) {
			t.Errorf("another read %s: %v; want net.ErrClosed", name, err)
		}
	}
}

func TestPatienceEndsWhenNothingComes(t *testing.T) {
	s, _, _ := tcpSource(t)
	s.patience = brief
	for range 3 {
		start := time.Now()
		b, n, err := s.read(chunkSize)
		if b != nil || n != 0 || err != errIdle {
			t.Errorf("read of a silent connection: %d bytes, a buffer: %v, %v; want nothing but errIdle", n, b != nil, err)
		}
		if took := time.Since(start); took < brief {
			t.Errorf("the patience of %v ended after %v; want it to last", brief, took)
		}
	}
}

func TestPatienceThatHasEndedLeavesNoDeadline(t *testing.T) {
	s, _, peer := tcpSource(t)
	s.patience = brief
	if _, _, err := s.read(chunkSize); err != errIdle {
		t.Fatalf("read of a silent connection: %v; want errIdle", err)
	}
	s.patience = 0
	text, failed := beginRead(t, s)
	select {
	case err := <-failed:
		t.Fatalf("a later read without patience: %v; want it to wait for as long as it takes", err)
	case <-time.After(3 * brief): // longer than what a deadline that was left behind would take
	}
	_, _ = peer.Write([]byte("late"))
	if got := <-text; got != "late" {
		t.Errorf("the later read brought %q; want what was sent then", got)
	}
}

// Data ends the wait as well, and must not leave the deadline behind.
func TestPatienceThatWasRewardedLeavesNoDeadline(t *testing.T) {
	t.Parallel()
	s, conn, peer := tcpSource(t)
	s.patience = 50 * brief
	text, failed := beginRead(t, s)
	_, _ = peer.Write([]byte("in time"))
	select {
	case got := <-text:
		if got != "in time" {
			t.Errorf("the read brought %q; want what came within its patience", got)
		}
	case err := <-failed:
		t.Fatalf("the read: %v; want what came within its patience", err)
	}
	reading := begin(func() error { _, err := conn.Read(make([]byte, 1)); return err })
	select {
	case err := <-reading:
		t.Errorf("a later Read of the connection: %v; want it to wait, it has no deadline", err)
	case <-time.After(s.patience + brief):
		_, _ = peer.Write([]byte("x"))
		<-reading
	}
}

func TestPatienceLosesNothing(t *testing.T) {
	s, _, peer := tcpSource(t)
	s.patience = time.Millisecond
	want := pattern(5000)
	go func() {
		for i := range 50 {
			// Around the moment at which the patience ends.
			time.Sleep(time.Duration(i%5) * time.Millisecond / 2)
			_, _ = peer.Write(want[i*100 : (i+1)*100])
		}
		_ = peer.CloseWrite()
	}()
	var got []byte
	idle := 0
	for {
		some, err := readAll(t, s, chunkSize)
		got = append(got, some...)
		if err == io.EOF {
			break
		}
		if err != errIdle {
			t.Fatalf("after %d bytes: %v; want errIdle or io.EOF", len(got), err)
		}
		idle++
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes in between %d times of idleness; want all %d in order", len(got), idle, len(want))
	}
}

func TestPatienceEndsEarlyWithTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(peer *net.TCPConn)
		want error
	}{
		"EOF":     {func(peer *net.TCPConn) { _ = peer.CloseWrite() }, io.EOF},
		"a reset": {sendReset, syscall.ECONNRESET},
	} {
		s, _, peer := tcpSource(t)
		s.patience = time.Minute
		_, failed := beginRead(t, s)
		c.end(peer)
		if err := <-failed; !errors.Is(err, c.want) {
			t.Errorf("%s in the midst of waiting: %v; want %v", name, err, c.want)
		}
	}
}

func TestReadOfASocketThatHasDataAllocatesNothing(t *testing.T) {
	for name, patience := range map[string]time.Duration{"without patience": 0, "with patience": time.Minute} {
		s, _, peer := tcpSource(t)
		s.patience = patience
		one := []byte("x")
		read := func() {
			_, _ = peer.Write(one)
			b, n, err := s.read(chunkSize)
			if n != 1 || err != nil {
				t.Fatalf("read: %d, %v; want one byte", n, err)
			}
			giveBack(b)
		}
		read() // a buffer is made now
		if allocs := testing.AllocsPerRun(200, read); allocs != 0 {
			t.Errorf("a read %s cost %v allocations; want none on the data path", name, allocs)
		}
	}
}

func TestSourceOfAnythingElseJustReads(t *testing.T) {
	want := pattern(300_000)
	for name, r := range map[string]io.Reader{
		"a reader of bytes":        bytes.NewReader(want),
		"EOF with the last bytes":  iotest.DataErrReader(bytes.NewReader(want)),
		"half of what is asked":    iotest.HalfReader(bytes.NewReader(want)),
		"a connection in disguise": struct{ io.Reader }{bytes.NewReader(want)},
	} {
		s := newSource(r)
		s.patience = time.Nanosecond // of no use to it
		var got []byte
		var err error
		for err == nil {
			var b *buffer
			var n int
			b, n, err = s.read(20_000)
			if n > 20_000 {
				t.Errorf("%s: a read for 20000 bytes brought %d", name, n)
			}
			got = append(got, b.payload()[:n]...)
			giveBack(b)
		}
		if err != io.EOF || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes and %v; want all %d, then io.EOF", name, len(got), err, len(want))
		}
	}
}

func TestSourceHandsOnItsReadersError(t *testing.T) {
	why := errors.New("out of paper")
	s := newSource(io.MultiReader(strings.NewReader("text"), iotest.ErrReader(why)))
	wantRead(t, s, "text")
	b, n, err := s.read(chunkSize)
	giveBack(b)
	if n != 0 || err != why {
		t.Errorf("read: %d, %v; want the reader's own error", n, err)
	}
}
