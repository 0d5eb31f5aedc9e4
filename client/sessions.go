package client

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"ferry/mux"
)

// NoSessionError says that a tunnel could not be opened because there is no
// session with the endpoint.
type NoSessionError struct {
	Reason error // why there is none
}

// Error says what is missing, and why.
func (e *NoSessionError) Error() string {
	return "no session with the endpoint: " + e.Reason.Error()
}

// Unwrap returns the reason.
func (e *NoSessionError) Unwrap() error { return e.Reason }

var (
	errStarting = errors.New("it has not been reached yet")
	errCrowded  = errors.New("too many are waiting for it already")
	errStopped  = errors.New("ferry is shutting down")
)

// sessions are those that are up, which of them is for new tunnels, and who waits
// for one.
type sessions struct {
	waiting chan struct{} // holds a token for each CONNECT that waits

	mu      sync.Mutex                // guards what follows
	held    map[*mux.Session]struct{} // all that have not ended
	current *mux.Session              // the one for new tunnels; nil if there was none yet
	reason  error                     // why current does not serve, if it does not
	changed chan struct{}             // closed, and replaced, at each change
}

func (s *sessions) init(maxWaiting int) {
	s.waiting = make(chan struct{}, maxWaiting)
	s.held = make(map[*mux.Session]struct{})
	s.changed = make(chan struct{})
	s.reason = errStarting
}

// add makes a session the one for new tunnels.
func (s *sessions) add(session *mux.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[session] = struct{}{}
	s.current = session
	s.change()
}

// drop forgets a session that has ended.
func (s *sessions) drop(session *mux.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, session)
}

// explain says why there is no session. If there is one, nobody hears it.
func (s *sessions) explain(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = reason
	s.change()
}

// resumed wakes those who wait: a session has a WebSocket again.
func (s *sessions) resumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change()
}

// change is called with mu held.
func (s *sessions) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// all returns the sessions that have not ended.
func (s *sessions) all() []*mux.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.held))
}

// get returns the session for new tunnels, or why there is none, and what is
// closed when that changes. A session that is being resumed is none: if that
// fails, a tunnel on it would be lost.
func (s *sessions) get() (session *mux.Session, changed <-chan struct{}, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.Attached() {
		return s.current, s.changed, nil
	}
	return nil, s.changed, s.reason
}

// wait returns the session for new tunnels, and waits for one if there is none.
// It gives up at once if the endpoint does not want this client: no wait will
// change that.
func (s *sessions) wait(ctx context.Context, limit time.Duration) (*mux.Session, error) {
	session, changed, reason := s.get()
	if session != nil {
		return session, nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return nil, &NoSessionError{Reason: errCrowded}
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for session == nil {
		if unwanted(reason) || errors.Is(reason, errStopped) {
			return nil, &NoSessionError{Reason: reason}
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, &NoSessionError{Reason: reason}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		session, changed, reason = s.get()
	}
	return session, nil
}

// unwanted reports whether the endpoint turned the token down.
func unwanted(err error) bool {
	var handshake *mux.HandshakeError
	return errors.As(err, &handshake) &&
		(handshake.Status == http.StatusUnauthorized || handshake.Status == http.StatusForbidden)
}
