package testserver

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"ferry/mux"
	"ferry/wire"
)

// tunnel serves one stream: it connects the target, and has both joined. It calls
// done when the tunnel has ended, and logs one line about it.
func (s *session) tunnel(stream *mux.Stream, done func()) {
	began := time.Now()
	conn, target, err := s.awaitConnect(stream)
	if err != nil {
		s.log.Warn("tunnel", "outcome", "no valid Connect chunk", "error", err, "duration", time.Since(began))
		done()
		return
	}
	tcp, refused := s.server.dial(target)
	if refused != nil {
		_ = conn.Refuse(refused.Code, refused.Detail)
		s.log.Info("tunnel", "target", target.String(),
			"duration", time.Since(began), "outcome", refused.Error(), "error", refused.Err)
		done()
		return
	}
	address := tcp.RemoteAddr().String()
	ended := func(out wire.Outcome) {
		s.log.Info("tunnel", "target", target.String(), "address", address,
			"to_target", out.FromTunnel, "from_target", out.ToTunnel,
			"duration", time.Since(began), "outcome", outcome(out.Err))
		done()
	}
	if err := conn.Confirm(); err != nil {
		_ = conn.Abort(wire.AbortInternalError, "")
		_ = tcp.Close()
		ended(wire.Outcome{Err: err})
		return
	}
	s.server.joiner.Join(conn, tcp, ended)
}

func (s *session) awaitConnect(stream *mux.Stream) (*wire.Conn, wire.Target, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return wire.Accept(ctx, stream)
}

// outcome says in the log how a tunnel ended.
func outcome(err error) string {
	var abort *wire.AbortError
	var network *net.OpError
	switch {
	case err == nil:
		return "finished"
	case errors.As(err, &abort) && abort.Remote:
		return "client: " + abort.Code.String()
	case abort != nil:
		return abort.Code.String() + ": " + cause(abort)
	case errors.As(err, &network):
		return "target: " + network.Err.Error()
	}
	return err.Error()
}

// cause is why the stream below was lost. An EOF is the client's doing: it
// closed the stream in the middle, as it does when it can't send an Abort.
func cause(abort *wire.AbortError) string {
	if abort.Err == nil || errors.Is(abort.Err, io.ErrUnexpectedEOF) {
		return abort.Detail
	}
	return abort.Err.Error()
}
