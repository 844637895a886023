package http

import (
	"net/http"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// awaiting is the reason of a held read that a person may still let through.
const awaiting = "awaiting_approval"

// statusOf is the status of a fault.
func statusOf(f *fault.Error) int {
	switch f.Code {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Internal:
		return http.StatusInternalServerError
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Failed:
		return http.StatusUnprocessableEntity
	case fault.Cancelled:
		return 499 // the client closed the request
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.Held:
		if f.Reason == awaiting {
			return http.StatusAccepted
		}
		return http.StatusForbidden
	case fault.Deadline:
		return http.StatusGatewayTimeout
	case fault.Limited:
		if f.Reason == "too_large" {
			return http.StatusRequestEntityTooLarge
		}
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// statusFor is the status of an answer: 202 while the call's effect is still to come.
func statusFor(answer any) int {
	o, ok := answer.(op.Outcome)
	if !ok {
		return http.StatusOK
	}
	switch o.Status {
	case op.Running, op.Confirm, op.Waiting:
		return http.StatusAccepted
	case op.Done:
	}
	return http.StatusOK
}
