package testserver

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ferry/mux"
	"ferry/wire"
)

// connectTimeout is how long a stream may take to say where it leads.
const connectTimeout = 10 * time.Second

// session serves the tunnels of one client.
type session struct {
	server *Server
	link   *mux.Session
	who    identity
	log    *slog.Logger

	tunnels sync.WaitGroup // the goroutines of tunnel
}

func newSession(s *Server, link *mux.Session, who identity, remote string) *session {
	return &session{server: s, link: link, who: who, log: s.config.Log.With("remote", remote)}
}

// serve accepts tunnels until the session ends, and waits for them.
func (s *session) serve() {
	began := time.Now()
	s.log.Info("session opened")
	s.server.add(s)
	defer s.server.remove(s)
	for {
		stream, err := s.link.Accept()
		if err != nil {
			s.tunnels.Wait()
			s.log.Info("session ended", "duration", time.Since(began), "streams_left", s.link.Streams(), "reason", err)
			_ = s.link.Close(mux.CloseDone, "")
			return
		}
		s.accept(stream)
	}
}

// accept gives a stream its goroutine, or refuses it. It does not wait for the
// client.
func (s *session) accept(stream *mux.Stream) {
	if s.link.Streams() > s.server.config.MaxTunnels {
		_ = wire.Reject(stream, wire.ConnectionLimitReached, "this session has too many tunnels")
		return
	}
	s.tunnels.Go(func() { s.tunnel(stream) })
}

// drainAndWait asks the client to move, at some time within an eighth of the
// grace, and returns when the tunnels have finished or ctx has ended. New tunnels
// are served until the client has moved.
func (s *session) drainAndWait(ctx context.Context, grace time.Duration) {
	if grace > 8 {
		select {
		case <-time.After(rand.N(grace / 8)):
		case <-s.link.Done():
		case <-ctx.Done():
		}
	}
	s.drain(grace)
	s.link.WaitIdle(ctx)
}

// drain tells the client that the endpoint goes away.
func (s *session) drain(grace time.Duration) { s.link.Drain(grace, "the endpoint is shutting down") }

// cut ends the session, and with it its tunnels.
func (s *session) cut() { _ = s.link.Close(mux.CloseShutdown, "the endpoint is shutting down") }
