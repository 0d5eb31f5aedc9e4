package e2e

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// A CONNECT that comes while the session is lost waits for it.
func TestConnectWaitsForTheSession(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	address := target(t, echo)
	_ = p.connect(address).Close()
	path.freeze()
	path.cut()
	eventually(t, "told about the loss", func() bool { return len(p.logs.lines("half=client", "connection lost")) > 0 })
	time.AfterFunc(time.Second, path.thaw)
	began := time.Now()
	one := p.connect(address)
	_, _ = io.WriteString(one, "x")
	mustRead(t, one, []byte("x"))
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("connected after %v, while the path was dead", took)
	}
}

func TestConnectWaitsForALimitedTime(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0, func(s *testserver.Config, c *client.Config) {
		s.ResumeWindow = time.Second
		c.ConnectWait = 500 * time.Millisecond
		c.MaxWaiting = 4
	})
	p.connect(target(t, echo))
	path.freeze()
	path.cut()
	eventually(t, "told about the loss", func() bool { return len(p.logs.lines("half=client", "connection lost")) > 0 })
	var all sync.WaitGroup
	var waited, crowded atomic.Int64
	for range 12 {
		one := p.send("CONNECT example.com:443 HTTP/1.1\r\n\r\n")
		all.Go(func() {
			answer := one.answer()
			if strings.Contains(answer.Header.Get("Proxy-Status"), "too many are waiting") {
				crowded.Add(1)
			} else {
				waited.Add(1)
			}
			refused(t, "without a session", answer, http.StatusServiceUnavailable, "destination_unavailable")
		})
	}
	all.Wait()
	if waited.Load() < 4 || crowded.Load() < 4 {
		t.Errorf("%d CONNECTs waited and %d were refused at once; want 4 and more of each, since 4 may wait at a time", waited.Load(), crowded.Load())
	}
}

// The endpoint is asked again no sooner than it wants.
func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []time.Time
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, time.Now())
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	run(t, client.Config{URL: busy.URL})
	eventually(t, "asked three times", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(asked) >= 3
	})
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(asked); i++ {
		if pause := asked[i].Sub(asked[i-1]); pause < time.Second {
			t.Errorf("asked again after %v; the endpoint wanted 1 s", pause)
		}
	}
}

// Endpoints are tried in turn, and the one that fails is left for another.
func TestFallback(t *testing.T) {
	t.Parallel()
	first, err := testserver.Start(testserver.Config{AllowPrivate: true, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	p := newPair(t, func(s *testserver.Config, c *client.Config) {
		s.Token, c.Token = "secret", "secret"
		c.URL = "ws://127.0.0.1:1"
		c.Fallbacks = []string{first.URL}
	})
	_ = p.endpoint.Close() // it is not needed here
	address := target(t, echo)
	one := p.connect(address)
	_, _ = io.WriteString(one, "x")
	mustRead(t, one, []byte("x"))

	second := newPairWith(t, func(e *testserver.Endpoint, c *client.Config) {
		c.URL, c.Token, c.Fallbacks = first.URL, "secret", []string{e.URL}
	}, func(s *testserver.Config, _ *client.Config) { s.Token = "secret" })
	two := second.connect(address)
	_ = first.Close()
	mustReset(t, "the tunnel on the endpoint that was closed", two)
	three := second.connect(address)
	_, _ = io.WriteString(three, "y")
	mustRead(t, three, []byte("y"))
}

// rotatable starts a pair whose client asks for its token each time: the old one,
// until another is stored.
func rotatable(t *testing.T, changes ...func(*testserver.Config, *client.Config)) (*pair, *atomic.Value) {
	t.Helper()
	token := new(atomic.Value)
	token.Store("old")
	return newPair(t, append(changes, func(s *testserver.Config, c *client.Config) {
		s.Token = "old"
		c.TokenSource = func() (string, error) { return token.Load().(string), nil }
	})...), token
}

// Renew moves new tunnels to a session under the new token; old ones go on.
func TestRenewMovesToANewSession(t *testing.T) {
	t.Parallel()
	p, token := rotatable(t, func(s *testserver.Config, _ *client.Config) { s.DrainTimeout = 2 * time.Second })
	address := target(t, echo)
	one := p.connect(address)
	p.endpoint.SetTokens("old", "new")
	token.Store("new")
	p.client.Renew()
	eventually(t, "on a second session", func() bool { return len(p.logs.lines("half=client", "session opened")) == 2 })
	two := p.connect(address)
	for _, tool := range []*tool{one, two} {
		_, _ = io.WriteString(tool, "x")
		mustRead(t, tool, []byte("x"))
	}
	// The old token is withdrawn: its session is drained, and cut in the end. The
	// new one is left alone.
	p.endpoint.SetTokens("new")
	mustReset(t, "the tunnel of the withdrawn token", one)
	_, _ = io.WriteString(two, "y")
	mustRead(t, two, []byte("y"))
	if n := len(p.logs.lines("half=client", "session ended", "unauthorized", "withdrawn")); n != 1 {
		t.Errorf("the client said %d times that a token was withdrawn, want once", n)
	}
}

// A withdrawn token alone moves the client to the new one.
func TestWithdrawnTokenIsADrain(t *testing.T) {
	t.Parallel()
	p, token := rotatable(t)
	address := target(t, echo)
	one := p.connect(address)
	token.Store("new")
	p.endpoint.SetTokens("new")
	eventually(t, "on a second session", func() bool { return len(p.logs.lines("half=client", "session opened")) == 2 })
	two := p.connect(address)
	_ = one.CloseWrite()
	mustEnd(t, one)
	eventually(t, "rid of the first session", func() bool { return len(p.logs.lines("half=client", "session ended")) == 1 })
	_, _ = io.WriteString(two, "y")
	mustRead(t, two, []byte("y"))
}

// A source of tokens that fails is said, and the session comes when it works.
func TestTokenSourceThatFails(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	p := newPair(t, func(s *testserver.Config, c *client.Config) {
		s.Token = "secret"
		c.TokenSource = func() (string, error) {
			if !ready.Load() {
				return "", errors.New("the vault is sealed")
			}
			return "secret", nil
		}
		c.Token = ""
		c.ConnectWait = 300 * time.Millisecond
	})
	answer := p.send("CONNECT example.com:443 HTTP/1.1\r\n\r\n").answer()
	if got := answer.Header.Get("Proxy-Status"); !strings.Contains(got, "the vault is sealed") {
		t.Errorf("Proxy-Status is %q, want the reason", got)
	}
	ready.Store(true)
	eventually(t, "up", func() bool { return len(p.logs.lines("session opened", "half=client")) == 1 })
}
