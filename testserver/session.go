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

// leaveTime is how long no tunnel must have been opened before a session that drains
// is ended, unless its client has left it. A tunnel may be on its way, and what a tool
// has sent on it would be lost.
const leaveTime = time.Second

// session serves the tunnels of one client.
type session struct {
	server *Server
	link   *mux.Session
	who    identity
	log    *slog.Logger

	tunnels sync.WaitGroup // that have not ended
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
	s.tunnels.Add(1)
	go s.tunnel(stream, s.tunnels.Done)
}

// drainAndWait asks the client to move, at some time within an eighth of the
// grace, and returns when the tunnels have finished or ctx has ended. New tunnels
// are served until the client has moved.
func (s *session) drainAndWait(ctx context.Context, grace time.Duration) {
	if grace > 8 && !s.pause(ctx, rand.N(grace/8)) {
		return
	}
	s.drain(grace)
	for {
		s.link.WaitIdle(ctx)
		opened := s.link.Opened()
		if !s.pause(ctx, leaveTime) || s.link.Opened() == opened {
			return
		}
	}
}

// pause waits, and reports whether the session and ctx have lasted so long.
func (s *session) pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.link.Done():
	case <-ctx.Done():
	}
	return false
}

// drain tells the client that the endpoint goes away.
func (s *session) drain(grace time.Duration) { s.link.Drain(grace, "the endpoint is shutting down") }

// cut ends the session, and with it its tunnels.
func (s *session) cut() { _ = s.link.Close(mux.CloseShutdown, "the endpoint is shutting down") }
