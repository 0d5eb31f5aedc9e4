package wire

import (
	"strings"

	relayv1 "ferry/proto/relay/v1"
)

// RefusalCode says why a target could not be connected. Its String is the error
// type of RFC 9209, section 2.3, as it stands in a Proxy-Status header field.
type RefusalCode int32

// The refusals of the protocol; tunnel.proto explains each.
const (
	DNSTimeout              = RefusalCode(relayv1.Refused_CODE_DNS_TIMEOUT)
	DNSError                = RefusalCode(relayv1.Refused_CODE_DNS_ERROR)
	DestinationUnavailable  = RefusalCode(relayv1.Refused_CODE_DESTINATION_UNAVAILABLE)
	DestinationIPProhibited = RefusalCode(relayv1.Refused_CODE_DESTINATION_IP_PROHIBITED)
	DestinationIPUnroutable = RefusalCode(relayv1.Refused_CODE_DESTINATION_IP_UNROUTABLE)
	ConnectionRefused       = RefusalCode(relayv1.Refused_CODE_CONNECTION_REFUSED)
	ConnectionTerminated    = RefusalCode(relayv1.Refused_CODE_CONNECTION_TERMINATED)
	ConnectionTimeout       = RefusalCode(relayv1.Refused_CODE_CONNECTION_TIMEOUT)
	ConnectionLimitReached  = RefusalCode(relayv1.Refused_CODE_CONNECTION_LIMIT_REACHED)
	HTTPRequestError        = RefusalCode(relayv1.Refused_CODE_HTTP_REQUEST_ERROR)
	HTTPRequestDenied       = RefusalCode(relayv1.Refused_CODE_HTTP_REQUEST_DENIED)
	ProxyInternalError      = RefusalCode(relayv1.Refused_CODE_PROXY_INTERNAL_ERROR)
)

// String returns the RFC 9209 error type, such as "dns_error".
func (c RefusalCode) String() string {
	return codeName(relayv1.Refused_Code(c).String())
}

// refusalCode reads a code from the wire. A number that this version doesn't
// know is the far end's own affair.
func refusalCode(c relayv1.Refused_Code) RefusalCode {
	if _, known := relayv1.Refused_Code_name[int32(c)]; !known || c == 0 {
		return ProxyInternalError
	}
	return RefusalCode(c)
}

// AbortCode says why a tunnel was given up.
type AbortCode int32

// The aborts of the protocol; tunnel.proto explains each. AbortCut never
// crosses the wire: it is what the near end concludes when the stream is lost.
const (
	AbortUnspecified   = AbortCode(relayv1.Abort_CODE_UNSPECIFIED)
	AbortReset         = AbortCode(relayv1.Abort_CODE_RESET)
	AbortTimeout       = AbortCode(relayv1.Abort_CODE_TIMEOUT)
	AbortCanceled      = AbortCode(relayv1.Abort_CODE_CANCELED)
	AbortShutdown      = AbortCode(relayv1.Abort_CODE_SHUTDOWN)
	AbortProtocolError = AbortCode(relayv1.Abort_CODE_PROTOCOL_ERROR)
	AbortInternalError = AbortCode(relayv1.Abort_CODE_INTERNAL_ERROR)
	AbortCut           = AbortCode(-1)
)

// String returns the code in lower case, such as "reset".
func (c AbortCode) String() string {
	if c == AbortCut {
		return "cut"
	}
	return codeName(relayv1.Abort_Code(c).String())
}

func abortCode(c relayv1.Abort_Code) AbortCode {
	if _, known := relayv1.Abort_Code_name[int32(c)]; !known {
		return AbortUnspecified
	}
	return AbortCode(c)
}

func codeName(enum string) string {
	return strings.ToLower(strings.TrimPrefix(enum, "CODE_"))
}
