package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// balancer runs HAProxy in front of endpoints, whose /healthz it checks, and
// returns its address. It listens on a socket of the test's.
func balancer(t *testing.T, endpoints []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var config strings.Builder
	config.WriteString(`
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend front
  bind fd@3
  default_backend endpoints
backend endpoints
  balance roundrobin
  option httpchk GET /healthz
  default-server check inter 100ms fall 1 rise 1
`)
	for i, address := range endpoints {
		fmt.Fprintf(&config, "  server s%d %s\n", i, address)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", file)
	cmd.ExtraFiles = []*os.File{socket}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs HAProxy (apt install haproxy): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s", &said)
		}
	})
	return l.Addr().String()
}

// Three endpoints behind a balancer, of which two are drained in turn while
// tunnels come and go: none that ends in time is reset, and no CONNECT is
// refused.
func TestDrainBehindABalancer(t *testing.T) {
	t.Parallel()
	servers := make([]*testserver.Server, 3)
	said := make([]*logs, 3)
	var addresses []string
	var serving sync.WaitGroup
	for i := range servers {
		said[i] = &logs{}
		servers[i] = testserver.New(testserver.Config{
			Token: "secret", AllowPrivate: true, Log: slog.New(slog.NewTextHandler(said[i], nil)),
		})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		serving.Go(func() { _ = servers[i].Serve(l) })
	}
	t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Close()
		}
		serving.Wait()
	})
	front := balancer(t, addresses)
	clientSaid := &logs{}
	p := &pair{t: t, logs: clientSaid}
	p.client = run(t, client.Config{URL: "ws://" + front, Token: "secret", Log: slog.New(slog.NewTextHandler(clientSaid, nil))})

	address := target(t, echo)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var served atomic.Int64
	for worker := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := oneTunnel(p, address, noise(worker*1000+i, 20_000), time.Duration(i%20)*50*time.Millisecond); err != nil {
					t.Errorf("worker %d, tunnel %d: %v", worker, i, err)
					return
				}
				served.Add(1)
			}
		})
	}
	drained := map[int]bool{}
	for range 2 {
		busy := -1
		eventually(t, "a session on an endpoint that is not drained", func() bool {
			for i := range servers {
				if !drained[i] && len(said[i].lines("session opened")) > len(said[i].lines("session ended")) {
					busy = i
				}
			}
			return busy >= 0
		})
		time.Sleep(time.Second) // let tunnels come and go on it
		before := served.Load()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		began := time.Now()
		if err := servers[busy].Shutdown(ctx); err != nil {
			t.Errorf("draining endpoint %d: %v; want all its tunnels to finish", busy, err)
		}
		cancel()
		drained[busy] = true
		t.Logf("endpoint %d drained in %v while %d tunnels were served", busy, time.Since(began), served.Load()-before)
	}
	eventually(t, "served by the last endpoint", func() bool {
		for i := range servers {
			if !drained[i] {
				return len(said[i].lines("msg=tunnel")) > 20
			}
		}
		return false
	})
	close(stop)
	all.Wait()
	t.Logf("%d tunnels, none refused or reset", served.Load())
}

// An endpoint that is draining turns new sessions away, and says so to whoever
// checks its health, but takes up its own that were lost.
func TestDrainingEndpointTakesUpItsOwnSessions(t *testing.T) {
	t.Parallel()
	p, path := pairOver(t, 0)
	one := p.connect(target(t, echo))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.endpoint.Shutdown(ctx) }()
	web := "http" + strings.TrimPrefix(strings.TrimSuffix(p.endpoint.URL, "/v1/relay"), "ws")
	eventually(t, "unhealthy", func() bool { return statusOf(t, web+"/healthz", nil) == http.StatusServiceUnavailable })
	upgrade := http.Header{
		"Authorization": {"Bearer " + p.endpoint.Token}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Protocol": {"ferry.v1"},
	}
	if status := statusOf(t, web+"/v1/relay", upgrade); status != http.StatusServiceUnavailable {
		t.Errorf("a new session got %d, want 503", status)
	}
	path.cut()
	eventually(t, "taken up again", func() bool { return len(p.logs.lines("half=server", "session resumed")) == 1 })
	_, _ = io.WriteString(one, "still here")
	_ = one.CloseWrite()
	mustRead(t, one, []byte("still here"))
	mustEnd(t, one)
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v, want nil: the tunnel has finished", err)
	}
}

func statusOf(t *testing.T, url string, header http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// oneTunnel opens a tunnel, has data echoed, and rests in the middle of it.
func oneTunnel(p *pair, address string, data []byte, rest time.Duration) error {
	conn, err := net.Dial("tcp", p.client.ProxyURL().Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	one := p.wrap(conn.(*net.TCPConn))
	_, _ = io.WriteString(conn, "CONNECT "+address+" HTTP/1.1\r\n\r\n")
	answer, err := http.ReadResponse(one.r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("refused: %s, %s", answer.Status, answer.Header.Get("Proxy-Status"))
	}
	half := len(data) / 2
	_, _ = one.Write(data[:half])
	time.Sleep(rest)
	_, _ = one.Write(data[half:])
	_ = one.CloseWrite()
	got, err := io.ReadAll(one)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%d bytes came back that are not the %d that were sent", len(got), len(data))
	}
	return err
}
