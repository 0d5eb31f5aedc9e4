package mux

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// maxIDs is how many ids may resume a session at a time.
const maxIDs = 32

// AcceptConfig says how an Acceptor keeps sessions whose WebSocket was lost. The
// zero value of each field means its default.
type AcceptConfig struct {
	Config
	// ResumeWindow is how long such a session is kept, in whole seconds;
	// negative: not at all. 60 s by default.
	ResumeWindow time.Duration
	// MaxDetached is how many are kept in all, and MaxDetachedEach of one
	// identity. Beyond, the one that was lost first is ended. 1024 and 64 by
	// default.
	MaxDetached, MaxDetachedEach int
}

func (c AcceptConfig) withDefaults() AcceptConfig {
	c.Config = c.Config.withDefaults()
	if c.ResumeWindow == 0 {
		c.ResumeWindow = 60 * time.Second
	}
	c.ResumeWindow = max(c.ResumeWindow, 0).Truncate(time.Second)
	if c.MaxDetached <= 0 {
		c.MaxDetached = 1024
	}
	if c.MaxDetachedEach <= 0 {
		c.MaxDetachedEach = 64
	}
	return c
}

// Acceptor makes sessions of upgrade requests, and takes up those whose WebSocket
// was lost. All methods may be called concurrently.
type Acceptor struct {
	config AcceptConfig

	mu       sync.Mutex           // guards what follows
	names    map[string]*accepted // by each id that resumes them
	detached []*accepted          // in the order in which they were lost
}

// accepted is a session as its Acceptor knows it.
type accepted struct {
	identity string
	link     *Link
	session  *Session

	resuming sync.Mutex // held while it is being taken up, by one at a time

	// ids resume it; guarded by the Acceptor's mu. The client is known to have had
	// the first. It may or may not have got any of the others, which were given to
	// it since, one for each attempt to resume: once it shows that it has one,
	// those before that are worthless.
	ids []string
}

// NewAcceptor returns an Acceptor without sessions.
func NewAcceptor(c AcceptConfig) *Acceptor {
	return &Acceptor{config: c.withDefaults(), names: make(map[string]*accepted)}
}

// Accept makes a session of a request whose sender has been authenticated as
// identity. If the request takes up a session of the same identity, it returns
// that one, and resumed. If it returns an error, the request has been answered.
// The endpoint serves no browser, so a request from a page (with an Origin) is
// refused.
func (a *Acceptor) Accept(w http.ResponseWriter, r *http.Request, identity string) (s *Session, resumed bool, err error) {
	if !slices.Contains(websocket.Subprotocols(r), subprotocol) {
		return nil, false, refuse(w, "this endpoint speaks the WebSocket subprotocol "+subprotocol+" only")
	}
	if id := r.Header.Get(sessionField); id != "" {
		received, err := strconv.ParseUint(r.Header.Get(receivedField), 10, 64)
		if err != nil {
			return nil, false, refuse(w, receivedField+" is not a number")
		}
		s, err := a.resume(w, r, resumption{id, identity, received})
		if !errors.Is(err, ErrNotResumed) {
			return s, true, err
		}
		a.config.Log.Warn("session not resumed; opening a new one", "remote", r.RemoteAddr, "reason", err)
	}
	s, err = a.open(w, r, identity)
	return s, false, err
}

// Resumes reports whether a request takes up a session of the identity, as far as
// can be told now.
func (a *Acceptor) Resumes(r *http.Request, identity string) bool {
	return a.find(resumption{id: r.Header.Get(sessionField), identity: identity}) != nil
}

func refuse(w http.ResponseWriter, detail string) error {
	http.Error(w, detail, http.StatusBadRequest)
	return &HandshakeError{Status: http.StatusBadRequest, Detail: detail}
}

// open makes a new session.
func (a *Acceptor) open(w http.ResponseWriter, r *http.Request, identity string) (*Session, error) {
	id := rand.Text() // 130 random bits
	header := http.Header{}
	header.Set(sessionField, id)
	if seconds := int(a.config.ResumeWindow / time.Second); seconds > 0 {
		header.Set(windowField, strconv.Itoa(seconds))
	}
	ws, err := upgrader.Upgrade(w, r, header)
	if err != nil {
		return nil, err
	}
	one := &accepted{identity: identity}
	one.link = newLink(a.config.Config, a.config.ResumeWindow, hooks{
		lost:      func() { a.lost(one) },
		confirmed: func(id string) { a.confirmed(one, id) },
		ended:     func() { a.ended(one) },
	})
	one.link.start(ws, id)
	if one.session, err = newSession(one.link, served); err != nil {
		return nil, err
	}
	a.give(one, id)
	return one.session, nil
}

// resumption is what a client says to take a session up.
type resumption struct {
	id, identity string
	received     uint64
}

// resume takes a session up on the request's WebSocket. If there is no such
// session, or the count is wrong, it returns ErrNotResumed, has not answered, and
// has left everything alone.
func (a *Acceptor) resume(w http.ResponseWriter, r *http.Request, claim resumption) (*Session, error) {
	one := a.find(claim)
	if one == nil {
		return nil, fmt.Errorf("%w: there is no such session of this identity", ErrNotResumed)
	}
	one.resuming.Lock()
	defer one.resuming.Unlock()
	if a.find(claim) != one {
		return nil, fmt.Errorf("%w: its id is out of date", ErrNotResumed)
	}
	if err := one.link.lacks(claim.received); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotResumed, err)
	}
	received, err := one.link.suspend()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotResumed, err)
	}
	fresh := rand.Text()
	a.confirmed(one, claim.id)
	a.give(one, fresh)
	header := http.Header{}
	header.Set(sessionField, fresh)
	header.Set(receivedField, strconv.FormatUint(received, 10))
	ws, err := upgrader.Upgrade(w, r, header)
	if err != nil {
		return nil, err
	}
	a.found(one)
	if err := one.link.attach(ws, fresh, claim.received); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return one.session, nil
}

// find returns the session that an id resumes, if it is the identity's.
func (a *Acceptor) find(claim resumption) *accepted {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.names[claim.id]
	if one == nil || one.identity != claim.identity {
		return nil
	}
	return one
}

// give adds an id to those that resume a session, unless it has ended. An
// attacker, or a client in much trouble, can't make the list long: then the
// oldest that the client may not have got is forgotten.
func (a *Acceptor) give(one *accepted, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one.link.Err() != nil {
		return // ended has been called, or is about to be
	}
	if len(one.ids) == maxIDs {
		delete(a.names, one.ids[1])
		one.ids = slices.Delete(one.ids, 1, 2)
	}
	one.ids = append(one.ids, id)
	a.names[id] = one
}

// confirmed is told that the client has an id: those before it are worthless from
// now on.
func (a *Acceptor) confirmed(one *accepted, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := slices.Index(one.ids, id)
	if at <= 0 {
		return
	}
	for _, old := range one.ids[:at] {
		delete(a.names, old)
	}
	one.ids = slices.Delete(one.ids, 0, at)
}

// lost keeps a session whose WebSocket was lost, within the limits.
func (a *Acceptor) lost(one *accepted) {
	a.config.Log.Info("connection lost; waiting for the client", "window", a.config.ResumeWindow, "reason", one.link.lossCause())
	a.mu.Lock()
	var excess *accepted
	// By now it may have been resumed, or have ended.
	if one.link.Err() == nil && !one.link.isAttached() {
		a.forget(one)
		a.detached = append(a.detached, one)
		excess = a.excess(one.identity)
	}
	a.mu.Unlock()
	if excess != nil {
		excess.link.fail(fmt.Errorf("%w: too many sessions wait for that", ErrNotResumed))
	}
}

// excess returns the session that is over the limits, or nil: the one that was
// lost first, of all or of an identity. It is called with mu held.
func (a *Acceptor) excess(identity string) (first *accepted) {
	if len(a.detached) > a.config.MaxDetached {
		return a.detached[0]
	}
	count := 0
	for _, one := range a.detached {
		if one.identity != identity {
			continue
		}
		if first == nil {
			first = one
		}
		count++
	}
	if count <= a.config.MaxDetachedEach {
		return nil
	}
	return first
}

// found takes a session back from those that are lost.
func (a *Acceptor) found(one *accepted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(one)
}

// ended forgets a session altogether.
func (a *Acceptor) ended(one *accepted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range one.ids {
		delete(a.names, id)
	}
	one.ids = nil
	a.forget(one)
}

// forget is called with mu held.
func (a *Acceptor) forget(one *accepted) {
	a.detached = slices.DeleteFunc(a.detached, func(other *accepted) bool { return other == one })
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout: handshakeTimeout,
	Subprotocols:     []string{subprotocol},
	WriteBufferSize:  writeBufferSize,
	WriteBufferPool:  writeBuffers,
	CheckOrigin:      func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
}
