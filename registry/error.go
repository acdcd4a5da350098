package registry

import (
	"errors"
	"fmt"
)

// Code tells machines what an Error means; its Message tells people. The HTTP
// endpoint turns codes into statuses, the DNS server into response codes and
// the command line into exit codes.
type Code uint8

// The codes of Error. An error of another type counts as Internal.
const (
	Internal    Code = iota // a fault of the program or the machine
	Invalid                 // the request can never succeed; Field says what is wrong in it
	NotFound                // what it names is not registered
	Conflict                // it was made conditional, and the condition does not hold
	Forbidden               // the caller may not do this
	Unavailable             // the registry takes no writes at the moment
	Full                    // there is no room left to store it
)

// Error is an error with a code.
type Error struct {
	Code    Code
	Field   string // for Invalid, the field at fault, as the API names it
	Message string // one sentence, without a final stop, its cause included
	Err     error  // the cause, if there is one
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the given code. A %w in the format sets its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf returns the code of the first Error in err's chain, or Internal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Message: field + " " + fmt.Sprintf(format, args...)}
}
