package testserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"

	"ferry/mux"
)

// identity is who a client is: the hash of its token.
type identity string

func identityOf(token string) identity {
	sum := sha256.Sum256([]byte(token))
	return identity(hex.EncodeToString(sum[:]))
}

// authorize compares the request's bearer token (RFC 6750, section 2.1) with
// those that are let in, in a time that tells nothing about how much of it was
// right.
func (s *Server) authorize(r *http.Request) (identity, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	who := identityOf(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for known := range s.tokens {
		found |= subtle.ConstantTimeCompare([]byte(known), []byte(who))
	}
	return who, s.tokens == nil || found == 1
}

// SetTokens replaces the tokens that are let in. A session whose token is not
// among them any more is drained: its client is asked to come back with another
// one, and the session ends after Config.DrainTimeout at the latest. Without a
// token nobody is let in.
func (s *Server) SetTokens(tokens ...string) {
	known := make(map[identity]struct{}, len(tokens))
	for _, token := range tokens {
		known[identityOf(token)] = struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = known
	if s.draining {
		return
	}
	for one := range s.open {
		if _, good := known[one.who]; !good {
			s.sessions.Go(one.withdraw)
		}
	}
}

// withdraw ends a session whose token is no longer good, once its tunnels have
// finished.
func (s *session) withdraw() {
	s.log.Info("the session's token was withdrawn")
	ctx, cancel := context.WithTimeout(context.Background(), s.server.config.DrainTimeout)
	defer cancel()
	s.link.Drain(s.server.config.DrainTimeout, "the token was withdrawn")
	s.link.WaitIdle(ctx)
	_ = s.link.Close(mux.CloseUnauthorized, "the token was withdrawn")
}
