package mux

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	relayv1 "ferry/proto/relay/v1"
)

// serve accepts n streams of a session, and closes each when its peer has. It
// returns when all are closed.
func serve(t *testing.T, s *Session, n int) {
	var all sync.WaitGroup
	defer all.Wait()
	for range n {
		stream, err := s.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		all.Go(func() {
			_, _ = io.Copy(io.Discard, stream)
			_ = stream.Close()
		})
	}
}

// wantClosed checks that a session was ended on purpose.
func wantClosed(t *testing.T, call string, err error, want ClosedError) {
	t.Helper()
	var got *ClosedError
	if !errors.As(err, &got) || *got != want {
		t.Errorf("%s: %v; want %v", call, err, &want)
	}
}

func TestSessionsNamesAreSecrets(t *testing.T) {
	one, _ := pair(t, Config{})
	other, _ := pair(t, Config{})
	if len(one.name()) < 26 || one.name() == other.name() {
		t.Errorf("two sessions are %q and %q; want names of 128 random bits at least", one.name(), other.name())
	}
}

func TestPeerOfAClosedSessionLearnsWhy(t *testing.T) {
	for name, swap := range map[string]bool{"by the client": false, "by the server": true} {
		t.Run(name, func(t *testing.T) {
			closer, other := pair(t, Config{})
			if swap {
				closer, other = other, closer
			}
			stream, err := other.Open()
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			reading := make(chan error, 1)
			go func() {
				_, err := stream.Read(make([]byte, 1))
				reading <- err
			}()
			if err := closer.Close(CloseShutdown, "a new version"); err != nil {
				t.Errorf("Close: %v; want nil", err)
			}
			<-other.Done()
			here := ClosedError{CloseShutdown, "a new version", false}
			there := ClosedError{CloseShutdown, "a new version", true}
			wantClosed(t, "Err of the end that closed", closer.Err(), here)
			wantClosed(t, "Err of the other end", other.Err(), there)
			wantClosed(t, "the blocked Read (never io.EOF)", <-reading, there)
			_, err = stream.Write([]byte("x"))
			wantClosed(t, "Write", err, there)
			_, err = other.Open()
			wantClosed(t, "Open", err, there)
			_, err = other.Accept()
			wantClosed(t, "Accept", err, there)
			_, err = closer.Open()
			wantClosed(t, "Open at the end that closed", err, here)
			_ = stream.Close()
		})
	}
}

func TestDataWrittenBeforeCloseArrives(t *testing.T) {
	client, server := pair(t, Config{})
	near, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	far, err := server.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	mustWrite(t, near, noise(1, 200_000))
	_ = near.Close()
	_ = client.Close(CloseDone, "")
	<-server.Done()
	if n, _ := io.Copy(io.Discard, far); n != 200_000 {
		t.Errorf("%d bytes arrived; want all 200000 that were written before the session was closed", n)
	}
}

func TestLostWebSocketIsNeverAnEOF(t *testing.T) {
	client, server := pair(t, Config{})
	stream, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	mustWrite(t, stream, []byte("x"))
	if _, err := server.Accept(); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	_ = server.link.ws.NetConn().Close()
	if _, err := stream.Read(make([]byte, 1)); err == nil || err == io.EOF || err != client.Err() {
		t.Errorf("Read: %v; want the session's error, %v: a cut stream must not look finished", err, client.Err())
	}
}

func TestServerDropsAPeerThatSendsYamuxPings(t *testing.T) {
	server, ws := rawPeer(t)
	ping, _ := proto.Marshal(&relayv1.Frame{Data: yamuxPingFrame})
	_ = ws.WriteMessage(websocket.BinaryMessage, ping)
	<-server.Done()
	var wrong protocolError
	if err := server.Err(); !errors.As(err, &wrong) {
		t.Errorf("the session ended with %v; want a protocol error", err)
	}
	var err error
	for err == nil {
		_, _, err = ws.ReadMessage()
	}
}

func TestStreamsThatBothEndsClosedAreNotCounted(t *testing.T) {
	client, server := pair(t, Config{})
	var serving sync.WaitGroup
	serving.Go(func() { serve(t, server, 64) })
	var streams []*Stream
	for range 64 {
		stream, err := client.Open()
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		streams = append(streams, stream)
	}
	if n := client.Streams(); n != 64 {
		t.Errorf("Streams: %d; want the 64 that are open", n)
	}
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		client.WaitIdle(context.Background())
	}()
	for _, stream := range streams {
		for range 2 { // the second Close counts nothing
			if err := stream.Close(); err != nil {
				t.Errorf("Close: %v; want nil", err)
			}
		}
	}
	<-idle
	serving.Wait()
	server.WaitIdle(context.Background())
	if n := server.Streams(); n != 0 {
		t.Errorf("Streams: %d at the server; want none, both ends have closed all", n)
	}
	// What the server sends comes in order: with this stream, the client has
	// also learnt that the others are closed.
	if _, err := server.Open(); err != nil {
		t.Fatalf("Open: %v", err)
	}
	if _, err := client.Accept(); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	if n := client.Streams(); n != 1 {
		t.Errorf("Streams: %d at the client; want the last one only, both ends have closed the others", n)
	}
}

func TestWaitIdleReturnsAtOnceWithoutStreams(t *testing.T) {
	client, _ := pair(t, Config{})
	client.WaitIdle(context.Background())
}

func TestWaitIdleEndsWithItsContextAndTheSession(t *testing.T) {
	client, _ := pair(t, Config{})
	stream, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer stream.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client.WaitIdle(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.WaitIdle(context.Background())
	}()
	_ = client.Close(CloseDone, "")
	<-done
}

func TestDrainReachesThePeer(t *testing.T) {
	client, server := pair(t, Config{})
	server.Drain(time.Minute, "a new version")
	<-client.Draining()
	select {
	case <-server.Draining():
		t.Errorf("the end that announced it thinks that its peer goes away")
	default:
	}
	if _, err := client.Open(); err != nil {
		t.Errorf("Open: %v; want nil, a drain ends nothing", err)
	}
}

func TestDeadlinesInThePastInterruptAStream(t *testing.T) {
	client, _ := pair(t, Config{})
	stream, err := client.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer stream.Close()
	past := time.Unix(1, 0)
	reading, writing := make(chan error, 1), make(chan error, 1)
	go func() { _, err := stream.Read(make([]byte, 1)); reading <- err }()
	go func() {
		// Nobody reads, so the window is full at some point.
		for {
			if _, err := stream.Write(make([]byte, 64<<10)); err != nil {
				writing <- err
				return
			}
		}
	}()
	_ = stream.SetReadDeadline(past)
	if err := <-reading; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v; want %v", err, os.ErrDeadlineExceeded)
	}
	_ = stream.SetWriteDeadline(past)
	if err := <-writing; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v; want %v", err, os.ErrDeadlineExceeded)
	}
	if err := stream.SetReadDeadline(time.Now().Add(time.Hour)); err == nil {
		t.Errorf("a deadline ahead was accepted; want an error, it would not be kept")
	}
}
