package mux

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var (
	cutsFlag = flag.Int("cuts", 10_000, "how many cuts TestNothingIsLostInManyCuts makes")
	seedFlag = flag.Uint64("seed", 0, "its seed; 0 takes a new one")
)

// fickleNet is a network of connections in memory that fail after a random number
// of bytes, in the middle of whatever is being written.
type fickleNet struct {
	cuts    atomic.Int64
	limit   int64 // atomic: after so many cuts connections hold
	accepts chan net.Conn
	closed  chan struct{}

	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func newFickleNet(seed uint64, limit int) *fickleNet {
	return &fickleNet{
		limit: int64(limit), accepts: make(chan net.Conn), closed: make(chan struct{}),
		rng: rand.New(rand.NewPCG(seed, 1)),
	}
}

func (n *fickleNet) intN(m int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(m)
}

// budget is how many bytes a direction lets through: now a few, within the
// handshake, now some frames.
func (n *fickleNet) budget() int64 {
	switch n.intN(4) {
	case 0:
		return int64(n.intN(600))
	case 1:
		return int64(n.intN(5_000))
	}
	return int64(n.intN(150_000))
}

func (n *fickleNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	near := &fickleConn{Conn: a, net: n}
	far := &fickleConn{Conn: b, net: n}
	near.budget.Store(n.budget())
	far.budget.Store(n.budget())
	select {
	case n.accepts <- far:
		return near, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr make it a listener.
func (n *fickleNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepts:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *fickleNet) Close() error {
	close(n.closed)
	return nil
}

func (n *fickleNet) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

type fickleConn struct {
	net.Conn
	net    *fickleNet
	budget atomic.Int64
}

// Write lets what the budget allows through, then cuts the connection.
func (c *fickleConn) Write(p []byte) (int, error) {
	left := c.budget.Add(-int64(len(p)))
	if left >= 0 || c.net.cuts.Load() >= atomic.LoadInt64(&c.net.limit) {
		return c.Conn.Write(p)
	}
	c.net.cuts.Add(1)
	n := max(0, int64(len(p))+left)
	_, _ = c.Conn.Write(p[:n])
	_ = c.Close()
	return int(n), errors.New("cut")
}

// fickleEndpoint serves sessions on a fickleNet. The first is the one under test;
// later ones were given to stale or forged resumes, and are closed.
func fickleEndpoint(t *testing.T, n *fickleNet, c AcceptConfig) (first <-chan *Session) {
	t.Helper()
	acceptor := NewAcceptor(c)
	sessions := make(chan *Session, 1)
	var taken atomic.Bool
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, resumed, err := acceptor.Accept(w, r, r.Header.Get("Identity"))
		if err != nil || resumed {
			return
		}
		if taken.CompareAndSwap(false, true) {
			sessions <- s
			return
		}
		s.link.fail(errors.New("not the session under test"))
		_ = s.Close(CloseDone, "")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(n) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return sessions
}

// bytesOf is a direction's model: what is sent, and what must arrive.
func bytesOf(seed uint64) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
}

// sendModel writes the model in pieces of random size until stop is closed, then
// how much that was, and closes the stream.
func sendModel(stream *Stream, seed uint64, stop <-chan struct{}) (total int, err error) {
	source, sizes := bytesOf(seed), rand.New(rand.NewPCG(seed, 2))
	for {
		select {
		case <-stop:
			return total, stream.Close()
		default:
		}
		b := make([]byte, 1+sizes.IntN(20_000))
		_, _ = source.Read(b)
		n, err := stream.Write(b)
		total += n
		if err != nil {
			return total, err
		}
	}
}

// checkModel reads to the end and compares.
func checkModel(stream *Stream, seed uint64) (total int, err error) {
	source := bytesOf(seed)
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := stream.Read(got)
		_, _ = source.Read(want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			return total, fmt.Errorf("the bytes from %d on are not those that were sent", total)
		}
		total += n
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Random cuts: in the middle of frames, of acknowledgements and of handshakes, on
// either side or both; stale and duplicated resumes among them. Nothing may be
// lost, doubled or reordered. -seed repeats a run's budgets.
func TestNothingIsLostInManyCuts(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	n := newFickleNet(seed, 0) // the first connection holds
	serverSide := fickleEndpoint(t, n, AcceptConfig{})
	config := DialConfig{DialContext: n.dial}
	client, err := Dial(t.Context(), "ws://memory/", config)
	if err != nil {
		t.Fatal(err)
	}
	server := <-serverSide
	defer func() {
		_ = client.Close(CloseDone, "")
		_ = server.Close(CloseDone, "")
	}()
	up, upFar := openStream(t, client, server)
	down, downFar := openStream(t, client, server)
	atomic.StoreInt64(&n.limit, int64(*cutsFlag))

	// Two streams, so that both directions are full: yamux, too, must agree.
	var all sync.WaitGroup
	stop := make(chan struct{})
	transfer := func(from, to *Stream, seed uint64) {
		sent := make(chan int, 1)
		all.Go(func() {
			total, err := sendModel(from, seed, stop)
			if err != nil {
				t.Errorf("the sender: %v", err)
			}
			sent <- total
		})
		all.Go(func() {
			got, err := checkModel(to, seed)
			if want := <-sent; err != nil || got != want {
				t.Errorf("%d bytes of %d arrived, then %v", got, want, err)
			}
			_ = to.Close()
		})
	}
	transfer(up, upFar, seed)
	transfer(downFar, down, seed+1)
	resumes := keepResumed(t, n, client, config)
	close(stop)
	all.Wait()
	t.Logf("%d cuts, %d resumes", n.cuts.Load(), resumes)
}

// openStream returns both ends of a stream.
func openStream(t *testing.T, client, server *Session) (near, far *Stream) {
	t.Helper()
	near, err := client.Open()
	if err != nil {
		t.Fatal(err)
	}
	far, err = server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// keepResumed takes the session up whenever it is lost, until all cuts are made.
func keepResumed(t *testing.T, n *fickleNet, s *Session, config DialConfig) (resumes int) {
	t.Helper()
	config.Resume = s
	old := s.name()
	for n.cuts.Load() < atomic.LoadInt64(&n.limit) {
		select {
		case <-s.Lost():
		case <-time.After(10 * time.Millisecond):
			continue
		}
		if n.intN(4) == 0 {
			forge(n, old, 0) // stale: an id from the past
		}
		if n.intN(4) == 0 {
			received, _ := s.link.suspend()
			forge(n, s.name(), received) // doubled: as if an attempt came twice
		}
		was := s.name()
		switch got, err := Dial(t.Context(), "ws://memory/", config); {
		case err == nil && got == s:
			resumes++
			if n.intN(3) == 0 {
				old = was
			}
		case err == nil:
			t.Errorf("after %d resumes the endpoint no longer had the session: %v", resumes, s.Err())
			_ = got.Close(CloseDone, "")
			return resumes
		case s.Err() != nil:
			t.Errorf("after %d resumes the session ended: %v", resumes, s.Err())
			return resumes
		}
	}
	// The last cut may have left it without a WebSocket.
	for !s.Attached() && s.Err() == nil {
		_, _ = Dial(t.Context(), "ws://memory/", config)
	}
	return resumes
}

// forge sends a resume request as nobody's client, and goes away without a word.
func forge(n *fickleNet, id string, received uint64) {
	header := http.Header{}
	header.Set(sessionField, id)
	header.Set(receivedField, strconv.FormatUint(received, 10))
	dialer := websocket.Dialer{NetDialContext: n.dial, Subprotocols: []string{subprotocol}, HandshakeTimeout: time.Second}
	if ws, _, err := dialer.Dial("ws://memory/", header); err == nil {
		_ = ws.Close()
	}
}
