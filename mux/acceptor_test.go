package mux

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// keeper is an Acceptor behind a web server; the request's Identity field says
// who the client is.
type keeper struct {
	*Acceptor
	url      string
	sessions chan *Session // the new ones
}

func newKeeper(t *testing.T, c AcceptConfig) *keeper {
	t.Helper()
	e := &keeper{Acceptor: NewAcceptor(c), sessions: make(chan *Session, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, resumed, err := e.Accept(w, r, r.Header.Get("Authorization")); err == nil && !resumed {
			e.sessions <- s
			t.Cleanup(func() { _ = s.Close(CloseDone, "") })
		}
	}))
	t.Cleanup(server.Close)
	e.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return e
}

// dial opens a session, and returns both ends.
func (e *keeper) dial(t *testing.T, token string) (client, server *Session) {
	t.Helper()
	client, err := Dial(t.Context(), e.url, DialConfig{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(CloseDone, "") })
	return client, <-e.sessions
}

// lose makes a session lose its WebSocket, as a network would.
func lose(s *Session) {
	lost := s.Lost()
	s.link.mu.Lock()
	ws := s.link.ws
	s.link.mu.Unlock()
	if ws != nil {
		_ = ws.NetConn().Close()
	}
	<-lost
}

// awaitKept waits until a lost session has been put with the others.
func (e *keeper) awaitKept(s *Session) {
	for kept := false; !kept; runtime.Gosched() {
		e.mu.Lock()
		for _, one := range e.detached {
			kept = kept || one.session == s
		}
		e.mu.Unlock()
	}
}

// claim sends a resume request by hand, and reports whether it was granted. What
// it was given instead is closed.
func (e *keeper) claim(t *testing.T, token, id, received string) (granted bool, status int) {
	t.Helper()
	header := http.Header{}
	header.Set("Authorization", "Bearer "+token)
	header.Set(sessionField, id)
	header.Set(receivedField, received)
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}}
	ws, answer, err := dialer.Dial(e.url, header)
	if err != nil {
		return false, answer.StatusCode
	}
	defer ws.Close()
	granted = answer.Header.Get(receivedField) != ""
	if !granted {
		s := <-e.sessions
		go func() { _ = s.Close(CloseDone, "") }()
	}
	return granted, answer.StatusCode
}

// roundTrip shows that a session works.
func roundTrip(t *testing.T, client, server *Session) {
	t.Helper()
	near, far := openStream(t, client, server)
	if _, err := near.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	_ = far.Close()
}

func (e *keeper) resume(t *testing.T, client *Session, token string) {
	t.Helper()
	s, err := Dial(t.Context(), e.url, DialConfig{Token: token, Resume: client})
	if err != nil || s != client {
		t.Fatalf("the rightful client resumes: %v, the same session: %v; want it resumed", err, s == client)
	}
}

func TestForgedResumesAreRefused(t *testing.T) {
	t.Parallel()
	e := newKeeper(t, AcceptConfig{})
	client, server := e.dial(t, "alice")
	roundTrip(t, client, server)
	first := client.name()
	lose(client)
	e.resume(t, client, "alice")
	roundTrip(t, client, server) // the endpoint knows now that the client has the new id
	if client.name() == first {
		t.Error("the id is the old one; it must be replaced at each resume")
	}
	beyond := strconv.FormatUint(1<<40, 10)
	for _, forged := range []struct{ what, token, id, received string }{
		{"another identity's token", "mallory", client.name(), "24"},
		{"an old id", "alice", first, "24"},
		{"no such id", "alice", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0"},
		{"a count below what was acknowledged", "alice", client.name(), "0"},
		{"a count beyond what was sent", "alice", client.name(), beyond},
		{"the largest count", "alice", client.name(), "18446744073709551615"},
	} {
		if granted, status := e.claim(t, forged.token, forged.id, forged.received); granted || status != http.StatusSwitchingProtocols {
			t.Errorf("%s: granted %v with status %d; want a new session", forged.what, granted, status)
		}
		if !client.Attached() || !server.Attached() {
			t.Errorf("%s: the rightful session has lost its WebSocket", forged.what)
		}
		roundTrip(t, client, server)
	}
	for _, received := range []string{"", "-1", "x", "18446744073709551616"} {
		if granted, status := e.claim(t, "alice", client.name(), received); granted || status != http.StatusBadRequest {
			t.Errorf("the count %q: granted %v with status %d; want 400", received, granted, status)
		}
		roundTrip(t, client, server)
	}
}

// A client whose WebSocket is dead without a sign comes back before the endpoint
// notices.
func TestResumeTakesOverAWebSocketThatLooksAlive(t *testing.T) {
	t.Parallel()
	e := newKeeper(t, AcceptConfig{})
	client, server := e.dial(t, "alice")
	roundTrip(t, client, server)
	e.resume(t, client, "alice") // while attached
	roundTrip(t, client, server)
	if err := client.LostBy(); !errors.Is(err, errTakenOver) {
		t.Errorf("the old WebSocket was lost by %v, want it taken over", err)
	}
}

func TestDetachedSessionsAreLimited(t *testing.T) {
	t.Parallel()
	e := newKeeper(t, AcceptConfig{MaxDetached: 4, MaxDetachedEach: 2})
	ended := func(s *Session) bool {
		select {
		case <-s.Done():
			return errors.Is(s.Err(), ErrNotResumed)
		case <-time.After(time.Second):
			return false
		}
	}
	drop := func(token string) *Session {
		client, server := e.dial(t, token)
		lose(client)
		<-server.Lost()
		e.awaitKept(server)
		return server
	}
	first, second, third := drop("alice"), drop("alice"), drop("alice")
	if !ended(first) || second.Err() != nil || third.Err() != nil {
		t.Errorf("of three lost sessions of one identity %v, %v, %v have ended; want the first only", first.Err(), second.Err(), third.Err())
	}
	drop("bob")
	drop("carol")
	drop("dave")
	if !ended(second) || third.Err() != nil {
		t.Errorf("of five lost sessions in all, the first two ended with %v and %v; want the first to have ended only", second.Err(), third.Err())
	}
}

func TestWindowOfASession(t *testing.T) {
	t.Parallel()
	e := newKeeper(t, AcceptConfig{ResumeWindow: time.Second})
	client, server := e.dial(t, "alice")
	lose(client)
	for who, s := range map[string]*Session{"client": client, "endpoint": server} {
		<-s.Done()
		if !errors.Is(s.Err(), ErrNotResumed) {
			t.Errorf("after the window the %s's session ended with %v, want ErrNotResumed", who, s.Err())
		}
	}
	none := newKeeper(t, AcceptConfig{ResumeWindow: -1})
	client, server = none.dial(t, "alice")
	lose(client)
	<-server.Done()
	<-client.Done()
}

// A session that was given up while it was detached is not waited for.
func TestResumeOfAnEndedSession(t *testing.T) {
	t.Parallel()
	e := newKeeper(t, AcceptConfig{})
	client, server := e.dial(t, "alice")
	lose(client)
	<-server.Lost()
	_ = server.Close(CloseShutdown, "gone")
	again, err := Dial(t.Context(), e.url, DialConfig{Token: "alice", Resume: client})
	if err != nil || again == client {
		t.Fatalf("resuming a session that has ended: %v; want a new session", err)
	}
	defer again.Close(CloseDone, "")
	if !errors.Is(client.Err(), ErrNotResumed) {
		t.Errorf("the old session ended with %v, want ErrNotResumed", client.Err())
	}
	roundTrip(t, again, <-e.sessions)
}

func TestMemoryStaysFlatOverResumes(t *testing.T) {
	e := newKeeper(t, AcceptConfig{})
	client, server := e.dial(t, "alice")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	cycle := func(n int) {
		for range n {
			lose(client)
			e.resume(t, client, "alice")
			roundTrip(t, client, server)
		}
	}
	cycle(100)
	goroutines, before := runtime.NumGoroutine(), heap()
	cycle(1000)
	after := heap()
	t.Logf("heap before 1,000 resumes: %d KiB, after: %d KiB", before>>10, after>>10)
	if after > before+512<<10 {
		t.Errorf("1,000 resumes took %d KiB; want none, give or take half a MiB", (after-before)>>10)
	}
	if now := runtime.NumGoroutine(); now > goroutines+10 {
		t.Errorf("%d goroutines after 1,000 resumes, %d before", now, goroutines)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.names) > 2 || len(e.detached) > 0 {
		t.Errorf("the acceptor holds %d ids and %d lost sessions; want at most 2 and 0", len(e.names), len(e.detached))
	}
}

// A peer that never acknowledges pins the replay buffer and no more.
func TestPeerThatNeverAcknowledges(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	e := newKeeper(t, AcceptConfig{Config: Config{ReplayBuffer: limit, Window: 16 << 20}})
	header := http.Header{}
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}}
	ws, _, err := dialer.DialContext(context.Background(), e.url, header)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	server := <-e.sessions
	wrote := make(chan int, 1)
	go func() {
		n := 0
		for {
			if err := server.link.write(make([]byte, 32<<10)); err != nil {
				wrote <- n
				return
			}
			n += 32 << 10
		}
	}()
	received := 0
	for received < limit {
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("after %d bytes: %v", received, err)
		}
		f, err := parseFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		received += len(f.data)
	}
	server.link.mu.Lock()
	held := server.link.out.len()
	server.link.mu.Unlock()
	if held > limit {
		t.Errorf("the link holds %d bytes, its limit is %d", held, limit)
	}
	server.link.fail(errors.New("enough"))
	if n := <-wrote; n > limit {
		t.Errorf("%d bytes were accepted, the limit is %d", n, limit)
	}
}
