package testserver

import (
	"log/slog"
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
	log    *slog.Logger

	tunnels sync.WaitGroup // the goroutines of tunnel
}

func newSession(s *Server, link *mux.Session, remote string) *session {
	return &session{server: s, link: link, log: s.config.Log.With("remote", remote)}
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
	switch {
	case s.server.isDraining():
		_ = wire.Reject(stream, wire.DestinationUnavailable, "the endpoint is shutting down")
	case s.link.Streams() > s.server.config.MaxTunnels:
		_ = wire.Reject(stream, wire.ConnectionLimitReached, "this session has too many tunnels")
	default:
		s.tunnels.Go(func() { s.tunnel(stream) })
	}
}

// drain tells the client that the endpoint goes away.
func (s *session) drain(grace time.Duration) { s.link.Drain(grace, "the endpoint is shutting down") }

// cut ends the session, and with it its tunnels.
func (s *session) cut() { _ = s.link.Close(mux.CloseShutdown, "the endpoint is shutting down") }
