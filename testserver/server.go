package testserver

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"ferry/mux"
	"ferry/wire"
)

// Server is an endpoint. It is an [http.Handler] with two routes: /v1/relay takes
// sessions, /healthz says whether it takes any. Whoever uses it as a handler must
// call Shutdown or Close, since an [http.Server] forgets its WebSockets.
type Server struct {
	config   Config
	policy   policy
	acceptor *mux.Acceptor
	joiner   *wire.Joiner
	routes   *http.ServeMux
	http     *http.Server

	// sessions counts the handlers of /v1/relay; Close and Shutdown wait for them.
	sessions sync.WaitGroup

	mu       sync.Mutex            // guards what follows
	tokens   map[identity]struct{} // who is let in; nil: everybody
	open     map[*session]struct{}
	draining bool // no new sessions
	closed   bool
}

// New returns an endpoint that does not listen anywhere yet.
func New(c Config) *Server {
	c = c.withDefaults()
	s := &Server{
		config: c,
		policy: newPolicy(c.AllowPrivate),
		acceptor: mux.NewAcceptor(mux.AcceptConfig{
			Config:          mux.Config{Keepalive: c.Keepalive, ReplayBuffer: c.ReplayBuffer, OnCalm: c.OnCalm, Log: c.Log},
			ResumeWindow:    c.ResumeWindow,
			MaxDetached:     c.MaxDetached,
			MaxDetachedEach: c.MaxDetachedEach,
		}),
		joiner: wire.NewJoiner(),
		routes: http.NewServeMux(),
		open:   make(map[*session]struct{}),
	}
	if c.Token != "" {
		s.SetTokens(c.Token)
	}
	s.routes.HandleFunc("GET /v1/relay", s.relay)
	s.routes.HandleFunc("GET /healthz", s.healthz)
	s.http = newHTTPServer(s)
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// healthz is for load balancers: 200 as long as new sessions are welcome.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if s.isDraining() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// relay makes a session of the request and serves it until it ends, or takes up
// one that is being served already.
func (s *Server) relay(w http.ResponseWriter, r *http.Request) {
	who, ok := s.authorize(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
		s.config.Log.Warn("session refused", "remote", r.RemoteAddr, "reason", "the token is missing or wrong")
		return
	}
	if !s.enter(s.acceptor.Resumes(r, string(who))) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "this endpoint is shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.sessions.Done()
	link, resumed, err := s.acceptor.Accept(w, r, string(who))
	switch {
	case err != nil:
		s.config.Log.Warn("session refused", "remote", r.RemoteAddr, "reason", err)
	case resumed:
		s.config.Log.Info("session resumed", "remote", r.RemoteAddr)
	default:
		newSession(s, link, who, r.RemoteAddr).serve()
	}
}

// enter counts a handler in, unless the server is going away: then it only takes
// up its own sessions.
func (s *Server) enter(resumes bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining && !resumes {
		return false
	}
	s.sessions.Add(1)
	return true
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// add registers a session. A server that was closed meanwhile cuts it, one that
// is draining tells it so.
func (s *Server) add(one *session) {
	s.mu.Lock()
	s.open[one] = struct{}{}
	draining, closed := s.draining, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		one.cut()
	case draining:
		one.drain(0)
	}
}

func (s *Server) remove(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

// startDraining refuses whatever is new from now on, and returns the sessions.
func (s *Server) startDraining(closed bool) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.closed = s.closed || closed
	return slices.Collect(maps.Keys(s.open))
}

// Shutdown refuses new sessions, asks the clients to open others elsewhere, and
// lets the tunnels of the old ones finish until ctx ends. Then it does what Close
// does. The clients are not asked all at once, since they come back at once: it
// takes up to an eighth of the time that ctx leaves. Shutdown returns nil if all
// tunnels finished, otherwise the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	grace := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		grace = max(time.Until(deadline), 0)
	}
	var idle sync.WaitGroup
	for _, one := range s.startDraining(false) {
		idle.Go(func() { one.drainAndWait(ctx, grace) })
	}
	idle.Wait()
	err := ctx.Err()
	_ = s.Close()
	return err
}

// Close ends all sessions at once, which cuts their tunnels, stops serving, and
// waits until everything has ended.
func (s *Server) Close() error {
	var cut sync.WaitGroup
	for _, one := range s.startDraining(true) {
		cut.Go(one.cut)
	}
	err := s.http.Close()
	cut.Wait()
	s.sessions.Wait()
	_ = s.joiner.Close()
	return err
}
