package client

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"ferry/wire"
)

// Handler returns the proxy as an [http.Handler], for a server of one's own. It
// needs HTTP/1.1 connections that can be hijacked and half-closed. Run must be
// running all the same.
func (c *Client) Handler() http.Handler { return http.HandlerFunc(c.serve) }

// serve takes the connection over from net/http, whatever the request is: every
// answer closes it or turns it into a tunnel.
func (c *Client) serve(w http.ResponseWriter, r *http.Request) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "ferry needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	if !c.enter() {
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		c.handlers.Done()
		return
	}
	tool, sent := takeOver(conn, unread(buffered.Reader))
	target, bad := requested(r)
	c.answer(tool, target, bad, sent)
}

// answer refuses a request, or serves it. sent is what the tool has sent behind it.
func (c *Client) answer(tool net.Conn, target wire.Target, bad *refusal, sent []byte) {
	_ = tool.SetDeadline(time.Time{})
	half, ok := tool.(wire.Half)
	switch {
	case bad != nil:
		bad.send(tool, "")
	case !ok:
		_ = tool.Close() // TLS in front of the handler hides the half-close
	case c.relay(half, tool, target, sent):
		return
	}
	c.handlers.Done()
}

// unread returns what a reader holds, without reading more.
func unread(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered())
	return b
}

// requested returns the target of a CONNECT, or why the request is refused.
func requested(r *http.Request) (wire.Target, *refusal) {
	if r.Method != http.MethodConnect {
		return wire.Target{}, &refusal{http.StatusMethodNotAllowed, "http_request_error",
			r.Method + " is not served here", "use CONNECT, as tools do for https:// URLs"}
	}
	if r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
		// RFC 9110, section 9.3.6: a CONNECT request has no content.
		return wire.Target{}, badRequest("a CONNECT request must not have a body")
	}
	target, err := parseTarget(r.RequestURI)
	if err != nil {
		return wire.Target{}, badRequest("bad target: " + err.Error())
	}
	return target, nil
}

// refusalLevel keeps the log short while there is no session: that was said.
func refusalLevel(err error) slog.Level {
	var none *NoSessionError
	if errors.As(err, &none) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// established answers a CONNECT. What follows the empty line is the tunnel's, so
// no field may promise a body (RFC 9110, section 9.3.6).
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// relay opens the tunnel, tells the tool, and has both joined. It reports whether
// they are: then the handler ends when they do, which may be later. net/http keeps its
// buffers until relay returns.
func (c *Client) relay(half wire.Half, tool net.Conn, target wire.Target, sent []byte) bool {
	tunnel, err := c.open(c.stop, target, c.opensEarly(target))
	if err != nil {
		c.config.Log.Log(c.stop, refusalLevel(err), "tunnel refused", "target", target.String(), "reason", err)
		refusalOf(err).send(tool, target.String())
		return false
	}
	if _, err := tool.Write([]byte(established)); err != nil {
		_ = tunnel.Abort(wire.AbortReset, "the tool went away")
		_ = tool.Close()
		return false
	}
	if len(sent) > 0 {
		_, _ = tunnel.Write(sent) // an error sticks: Join meets it, and resets the tool
	}
	c.joiner.Join(tunnel, half, func(out wire.Outcome) {
		c.ended(target, out)
		c.handlers.Done()
	})
	return true
}

// ended logs a tunnel that did not end well, and remembers whose fault it was.
func (c *Client) ended(target wire.Target, out wire.Outcome) {
	if spoiled(out) {
		c.known.failed(target)
	}
	var refused *wire.RefusedError
	switch {
	case errors.As(out.Err, &refused):
		// A warning, since the tool saw a reset and can't say why.
		c.config.Log.Warn("tunnel refused after an early 200", "target", target.String(), "reason", refused)
	case out.Err != nil:
		c.config.Log.Info("tunnel failed", "target", target.String(),
			"sent", out.ToTunnel, "received", out.FromTunnel, "reason", out.Err)
	}
}
