package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHealthz(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	answer, err := http.Get("http" + strings.TrimSuffix(strings.TrimPrefix(p.endpoint.URL, "ws"), "/v1/relay") + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := body(answer); answer.StatusCode != http.StatusOK || got != "ok\n" {
		t.Errorf("got %s %q, want 200 ok", answer.Status, got)
	}
}

func TestTunnelsAreLogged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	one := p.connect(address)
	_, _ = io.WriteString(one, "hello")
	_ = one.CloseWrite()
	mustRead(t, one, []byte("hello"))
	mustEnd(t, one)
	words := []string{"half=server", "msg=tunnel", "target=" + address, "address=" + address,
		"to_target=5", "from_target=5", "duration=", "outcome=finished"}
	eventually(t, "logged", func() bool { return len(p.logs.lines(words...)) == 1 })
}

// SIGTERM at the endpoint: tunnels may finish. The client has nowhere else to go,
// so its new tunnels are served, too.
func TestEndpointShutsDownGracefully(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	address := target(t, echo)
	one := p.connect(address)
	ended := make(chan error, 1)
	go func() { ended <- p.endpoint.Shutdown(t.Context()) }()
	eventually(t, "told about the drain", func() bool { return len(p.logs.lines("half=client", "asks for another session")) == 1 })

	another := p.connect(address)
	for i, tool := range []*tool{one, another} {
		data := noise(i, 4<<20)
		go func() {
			_, _ = tool.Write(data)
			_ = tool.CloseWrite()
		}()
		mustRead(t, tool, data)
		mustEnd(t, tool)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v, want nil: all tunnels have finished", err)
	}
}

func TestEndpointCutsTunnelsAfterTheGrace(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	one := p.connect(target(t, echo))
	_, _ = io.WriteString(one, "x")
	mustRead(t, one, []byte("x"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := p.endpoint.Shutdown(ctx); err == nil {
		t.Error("Shutdown: nil, want the context's error: a tunnel was open")
	}
	mustReset(t, "the tool", one)
}
