package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"ferry/wire"
)

const (
	// drainTime and drainBytes bound how long a refused tool is listened to: a
	// close with data unread would be a reset, and swallow the answer.
	drainTime  = 2 * time.Second
	drainBytes = 8 << 20
)

// refusal is an answer other than 200. What it says is for a person.
type refusal struct {
	status int
	code   string // the error type of Proxy-Status (RFC 9209, section 2.3)
	detail string // what happened
	advice string // what to do about it
}

// badRequest refuses what no proxy can serve.
func badRequest(detail string) *refusal {
	return &refusal{
		status: http.StatusBadRequest, code: "http_request_error", detail: detail,
		advice: "send CONNECT host:port HTTP/1.1",
	}
}

// answers say how a refused target is told to the tool. The statuses are those
// that RFC 9209 recommends, but for a forbidden address.
var answers = map[wire.RefusalCode]struct {
	status int
	advice string
}{
	wire.DNSTimeout:              {http.StatusGatewayTimeout, "try again, and see whether the endpoint's resolver works"},
	wire.DNSError:                {http.StatusBadGateway, "check the spelling of the name"},
	wire.DestinationUnavailable:  {http.StatusServiceUnavailable, "try again in a moment"},
	wire.DestinationIPProhibited: {http.StatusForbidden, "use a public address, or run an endpoint of your own with --allow-private"},
	wire.DestinationIPUnroutable: {http.StatusBadGateway, "check the address, and the endpoint's network"},
	wire.ConnectionRefused:       {http.StatusBadGateway, "check the port, and whether the service runs"},
	wire.ConnectionTerminated:    {http.StatusBadGateway, "try again"},
	wire.ConnectionTimeout:       {http.StatusGatewayTimeout, "check the address and the port; a firewall may drop the packets"},
	wire.ConnectionLimitReached:  {http.StatusServiceUnavailable, "close some connections and try again"},
	wire.HTTPRequestError:        {http.StatusBadRequest, "check the host and the port"},
	wire.HTTPRequestDenied:       {http.StatusForbidden, "ask whoever runs the endpoint"},
	wire.ProxyInternalError:      {http.StatusInternalServerError, "see the endpoint's log"},
}

// refusalOf says what a failed open means for the tool.
func refusalOf(err error) *refusal {
	var refused *wire.RefusedError
	var none *NoSessionError
	switch {
	case errors.As(err, &refused):
		answer := answers[refused.Code]
		return &refusal{answer.status, refused.Code.String(), refused.Detail, answer.advice}
	case errors.As(err, &none) && unwanted(none.Reason):
		return &refusal{http.StatusServiceUnavailable, "destination_unavailable", err.Error(), "give ferry client the right token"}
	case none != nil:
		return &refusal{http.StatusServiceUnavailable, "destination_unavailable", err.Error(), "check ferry client's --url and the network, and try again"}
	}
	return &refusal{http.StatusBadGateway, "connection_terminated", err.Error(), "try again"}
}

// response is the answer as it goes to the tool, about target if that is known.
func (r *refusal) response(target string) []byte {
	var body strings.Builder
	body.WriteString("ferry: ")
	if target != "" {
		body.WriteString(target + ": ")
	}
	fmt.Fprintf(&body, "%s; %s\n", r.detail, r.advice)

	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	fmt.Fprintf(&b, "Proxy-Status: ferry; error=%s; details=%s\r\n", r.code, sfString(r.detail))
	if r.status == http.StatusMethodNotAllowed {
		b.WriteString("Allow: CONNECT\r\n")
	}
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", body.Len())
	b.WriteString(body.String())
	return b.Bytes()
}

// sfString writes a string as RFC 8941, section 3.3.3, has it: printable ASCII.
func sfString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
			b.WriteByte('?')
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// send answers the tool and closes the connection (RFC 9931 asks for that after
// a refused CONNECT), without a reset that could overtake the answer.
func (r *refusal) send(tool net.Conn, target string) {
	defer tool.Close()
	_ = tool.SetDeadline(time.Now().Add(drainTime))
	if _, err := tool.Write(r.response(target)); err != nil {
		return
	}
	if half, ok := tool.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, tool, drainBytes)
	}
}
