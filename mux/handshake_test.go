package mux

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// endpoint serves HTTP on loopback and returns its ws URL.
func endpoint(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// wantRefusal dials an endpoint that is not going to give a session.
func wantRefusal(t *testing.T, url string, want HandshakeError) {
	t.Helper()
	session, err := Dial(t.Context(), url, DialConfig{})
	if err == nil {
		_ = session.Close(CloseDone, "")
	}
	var got *HandshakeError
	if !errors.As(err, &got) {
		t.Fatalf("Dial: %v; want a *HandshakeError", err)
	}
	if got.Status != want.Status || got.RetryAfter != want.RetryAfter || want.Detail != "" && got.Detail != want.Detail {
		t.Errorf("Dial: status %d, retry after %v, detail %q; want %d, %v, %q",
			got.Status, got.RetryAfter, got.Detail, want.Status, want.RetryAfter, want.Detail)
	}
}

func TestDialReportsWhyTheEndpointRefused(t *testing.T) {
	for name, test := range map[string]struct {
		body, retryAfter string
		want             HandshakeError
	}{
		"with a line":          {"the token has expired\n", "", HandshakeError{Status: 401, Detail: "the token has expired"}},
		"with several lines":   {"one\ntwo\n", "", HandshakeError{Status: 401, Detail: "one"}},
		"without a body":       {"", "", HandshakeError{Status: 429, Detail: "Too Many Requests"}},
		"with an empty line":   {"\n\nx", "", HandshakeError{Status: 429, Detail: "Too Many Requests"}},
		"with a long line":     {strings.Repeat("x", 5000), "", HandshakeError{Status: 500, Detail: strings.Repeat("x", maxDetail)}},
		"with Retry-After":     {"full", "17", HandshakeError{Status: 503, RetryAfter: 17 * time.Second, Detail: "full"}},
		"with a bad one":       {"full", "soon", HandshakeError{Status: 503, Detail: "full"}},
		"with a negative one":  {"full", "-1", HandshakeError{Status: 503, Detail: "full"}},
		"with a success of it": {"hello", "", HandshakeError{Status: 200, Detail: "hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			url := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				w.WriteHeader(test.want.Status)
				_, _ = w.Write([]byte(test.body))
			})
			wantRefusal(t, url, test.want)
		})
	}
}

func TestDialSendsTheTokenAndTheSubprotocol(t *testing.T) {
	for token, want := range map[string]string{"secret": "Bearer secret", "": ""} {
		asked := make(chan http.Header, 1)
		url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Header
			http.Error(w, "no", http.StatusForbidden)
		})
		if _, err := Dial(t.Context(), url, DialConfig{Token: token}); err == nil {
			t.Fatalf("Dial succeeded with an endpoint that refuses")
		}
		header := <-asked
		if got := header.Get("Authorization"); got != want {
			t.Errorf("the Authorization of the token %q was %q; want %q", token, got, want)
		}
		if got := header.Get("Sec-Websocket-Protocol"); got != subprotocol {
			t.Errorf("the subprotocol was %q; want %q", got, subprotocol)
		}
		if _, has := header["Origin"]; has {
			t.Errorf("the request has an Origin; want none, the endpoint refuses pages")
		}
	}
}

func TestDialRefusesAnEndpointOfAnotherProtocol(t *testing.T) {
	named := http.Header{sessionField: {"x"}}
	for name, test := range map[string]struct {
		subprotocols []string
		header       http.Header
	}{
		"that speaks no subprotocol": {nil, named},
		"that speaks another":        {[]string{"chat"}, named},
		"that names no session":      {[]string{subprotocol}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				u := websocket.Upgrader{Subprotocols: test.subprotocols}
				ws, err := u.Upgrade(w, r, test.header)
				if err != nil {
					t.Errorf("upgrading: %v", err)
					return
				}
				defer ws.Close()
				if _, _, err := ws.NextReader(); err == nil {
					t.Errorf("the client sent a message; want it gone")
				}
			})
			wantRefusal(t, url, HandshakeError{Status: http.StatusSwitchingProtocols})
		})
	}
}

func TestDialReportsTheNetworksError(t *testing.T) {
	unreachable := errors.New("no route")
	_, err := Dial(t.Context(), "ws://relay.example/", DialConfig{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, unreachable }})
	var refused *HandshakeError
	if !errors.Is(err, unreachable) || errors.As(err, &refused) {
		t.Errorf("Dial: %v; want the error of the network, nobody has answered", err)
	}
}

// knock sends an upgrade request with a header of the test's own, and returns
// the status of the answer.
func knock(t *testing.T, url string, subprotocols []string, header http.Header) int {
	t.Helper()
	d := websocket.Dialer{Subprotocols: subprotocols}
	ws, answer, err := d.DialContext(t.Context(), url, header)
	if err == nil {
		_ = ws.Close()
	}
	if answer == nil {
		t.Fatalf("no answer: %v", err)
	}
	return answer.StatusCode
}

func TestAcceptRefuses(t *testing.T) {
	acceptor := NewAcceptor(AcceptConfig{})
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if session, _, err := acceptor.Accept(w, r, ""); err == nil {
			t.Errorf("Accept made a session of %v", r.Header)
			_ = session.Close(CloseDone, "")
		}
	})
	page := http.Header{"Origin": {"https://page.example"}}
	own := http.Header{"Origin": {"http" + strings.TrimPrefix(url, "ws")}}
	for name, test := range map[string]struct {
		subprotocols []string
		header       http.Header
		want         int
	}{
		"a page":                      {[]string{subprotocol}, page, http.StatusForbidden},
		"a page of its own host":      {[]string{subprotocol}, own, http.StatusForbidden},
		"a client without protocol":   {nil, nil, http.StatusBadRequest},
		"a client of another version": {[]string{"ferry.v0", "chat"}, nil, http.StatusBadRequest},
	} {
		if got := knock(t, url, test.subprotocols, test.header); got != test.want {
			t.Errorf("%s was answered with %d; want %d", name, got, test.want)
		}
	}
}

func TestAcceptRefusesAPlainRequest(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/v1/relay", nil)
	r.Header.Set("Sec-Websocket-Protocol", subprotocol)
	w := httptest.NewRecorder()
	if _, _, err := NewAcceptor(AcceptConfig{}).Accept(w, r, ""); err == nil || w.Code != http.StatusBadRequest {
		t.Errorf("a request that asks for no upgrade gave %v and was answered with %d; want an error and 400", err, w.Code)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	url := endpoint(t, func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	var canceled time.Time
	go func() {
		<-arrived
		canceled = time.Now()
		cancel()
	}()
	_, err := Dial(ctx, url, DialConfig{})
	if took := time.Since(canceled); err == nil || took > time.Second {
		t.Errorf("Dial: %v, %v after its context had ended; want an error at once", err, took)
	}
}
