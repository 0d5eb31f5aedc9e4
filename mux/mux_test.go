package mux

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns the two ends of a session over a real WebSocket on loopback. Both
// are closed at the end of the test.
func pair(t *testing.T, c Config) (client, server *Session) {
	t.Helper()
	acceptor := NewAcceptor(AcceptConfig{Config: c, ResumeWindow: -1})
	accepted := make(chan *Session, 1)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _, err := acceptor.Accept(w, r, "")
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		accepted <- s
	}))
	t.Cleanup(endpoint.Close)
	client, err := Dial(context.Background(), "ws"+strings.TrimPrefix(endpoint.URL, "http"), DialConfig{Config: c})
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	server = <-accepted
	t.Cleanup(func() {
		_ = client.Close(CloseDone, "")
		_ = server.Close(CloseDone, "")
	})
	return client, server
}

// echo serves every stream of a session by sending back what comes.
func echo(s *Session) {
	for {
		stream, err := s.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(struct{ io.Writer }{stream}, struct{ io.Reader }{stream})
			_ = stream.Close()
		}()
	}
}

// noise returns n bytes that a seed reproduces.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func TestStreamsEcho(t *testing.T) {
	client, server := pair(t, Config{})
	go echo(server)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			stream, err := client.Open()
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			want := noise(uint64(i), 3<<20)
			go func() {
				for b := range slices.Chunk(want, 64<<10) {
					_, _ = stream.Write(b)
				}
			}()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(stream, got); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("stream %d: the echo differs", i)
			}
			_ = stream.Close()
		})
	}
	all.Wait()
}
