package admin

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr"
	"github.com/hashicorp/go-bexpr/grammar"
)

// A filter keeps the values of a kind that a client's filter expression selects;
// nil keeps all.
type filter[T any] struct {
	holds  test
	caller *Token // who is not to find out by asking what is not shown
}

// A test tells whether an expression holds for a value.
type test func(reflect.Value) (bool, error)

// newFilter reads a request's filter expression for values of T, a pointer to a
// struct. Whether it fits does not depend on which values there are.
func newFilter[T any](r *http.Request) (*filter[T], error) {
	expression := r.URL.Query().Get("filter")
	if expression == "" {
		return nil, nil
	}
	parsed, err := grammar.Parse("", []byte(expression), grammar.MaxExpressions(1<<20))
	if err != nil {
		return nil, badRequest("the filter cannot be read: %v", err)
	}
	of := reflect.TypeFor[T]().Elem()
	if asksForElements(parsed) {
		evaluator, err := bexpr.CreateEvaluator(expression)
		if err != nil {
			return nil, badRequest("the filter cannot be read: %v", err)
		}
		return &filter[T]{func(v reflect.Value) (bool, error) { return evaluator.Evaluate(v.Interface()) }, callerOf(r.Context())}, nil
	}
	holds, err := compile(parsed, of)
	if err == nil {
		_, err = holds(reflect.New(of))
	}
	if err != nil {
		return nil, badRequest("the filter does not fit: %v", err)
	}
	return &filter[T]{holds, callerOf(r.Context())}, nil
}

func (f *filter[T]) keeps(value T) (bool, error) {
	if f == nil {
		return true, nil
	}
	f.caller.withoutTargets(value)
	kept, err := f.holds(reflect.ValueOf(value))
	if err != nil {
		return false, badRequest("the filter does not fit: %v", err)
	}
	return kept, nil
}

// list returns what is kept of a list, in its place.
func (f *filter[T]) list(values []T) (kept []T, err error) {
	if f == nil {
		return values, nil
	}
	kept = slices.DeleteFunc(values, func(value T) bool {
		keep, wrong := f.keeps(value)
		if wrong != nil {
			err = wrong
		}
		return !keep
	})
	return kept, err
}

// table does the same with a map.
func (f *filter[T]) table(values map[string]T) (kept map[string]T, err error) {
	if f == nil {
		return values, nil
	}
	maps.DeleteFunc(values, func(_ string, value T) bool {
		keep, wrong := f.keeps(value)
		if wrong != nil {
			err = wrong
		}
		return !keep
	})
	return values, err
}

// asksForElements tells whether an expression has an any or all in it, which go-bexpr
// has and Consul does not.
func asksForElements(expression any) bool {
	switch e := expression.(type) {
	case *grammar.UnaryExpression:
		return asksForElements(e.Operand)
	case *grammar.BinaryExpression:
		return asksForElements(e.Left) || asksForElements(e.Right)
	case *grammar.CollectionExpression:
		return true
	}
	return false
}

// compile returns the test of an expression for values of a type, as Consul
// understands it: what is said of a list of structs, such as Checks.Status, holds
// if it holds for one of them, which go-bexpr by itself does not know.
func compile(expression any, of reflect.Type) (test, error) {
	switch e := expression.(type) {
	case *grammar.UnaryExpression:
		operand, err := compile(e.Operand, of)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value) (bool, error) {
			holds, err := operand(v)
			return !holds, err
		}, nil
	case *grammar.BinaryExpression:
		left, err := compile(e.Left, of)
		if err != nil {
			return nil, err
		}
		right, err := compile(e.Right, of)
		if err != nil {
			return nil, err
		}
		decides := e.Operator == grammar.BinaryOpOr
		return func(v reflect.Value) (bool, error) {
			if holds, err := left(v); err != nil || holds == decides {
				return holds, err
			}
			return right(v)
		}, nil
	case *grammar.MatchExpression:
		return compileMatch(e, e.Selector.Path, of)
	}
	return nil, fmt.Errorf("%T is not known", expression)
}

// compileMatch follows a path through structs, lists and maps of structs to the
// field that is compared.
func compileMatch(e *grammar.MatchExpression, path []string, of reflect.Type) (test, error) {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	field, known := of.FieldByName(path[0])
	if !known {
		return nil, fmt.Errorf("there is no field %q", strings.Join(e.Selector.Path, "."))
	}
	if len(path) == 1 {
		if isStruct(field.Type) {
			return nil, fmt.Errorf("%q is nothing to compare, but what is in it", strings.Join(e.Selector.Path, "."))
		}
		return compileLeaf(e, path, of)
	}
	step, inner := 1, field.Type
	switch inner.Kind() {
	case reflect.Map:
		step, inner = 2, inner.Elem()
	case reflect.Slice:
		inner = inner.Elem()
	}
	if !isStruct(inner) || step == len(path) {
		return compileLeaf(e, path, of)
	}
	next, err := compileMatch(e, path[step:], inner)
	if err != nil {
		return nil, err
	}
	absent := e.Operator.NotPresentDisposition()
	return func(v reflect.Value) (bool, error) {
		v = reflect.Indirect(v).FieldByIndex(field.Index)
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return absent, nil
			}
		case reflect.Map:
			if v = v.MapIndex(reflect.ValueOf(path[1])); !v.IsValid() {
				return absent, nil
			}
		case reflect.Slice:
			for i := range v.Len() {
				if holds, err := next(v.Index(i)); err != nil || holds {
					return holds, err
				}
			}
			return false, nil
		}
		return next(v)
	}, nil
}

func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

// compileLeaf has go-bexpr compare a field of a struct, and tries whether it can.
func compileLeaf(e *grammar.MatchExpression, path []string, of reflect.Type) (test, error) {
	evaluator, err := bexpr.CreateEvaluator(leaf(e, path))
	if err != nil {
		return nil, err
	}
	if _, err := evaluator.Evaluate(reflect.New(of).Interface()); err != nil {
		return nil, err
	}
	return func(v reflect.Value) (bool, error) { return evaluator.Evaluate(v.Interface()) }, nil
}

// leaf writes a comparison down with another path.
func leaf(e *grammar.MatchExpression, path []string) string {
	quote := func(text string) string { return strings.ReplaceAll(strconv.Quote(text), `\"`, `\x22`) }
	selector := path[0]
	for _, key := range path[1:] {
		selector += "[" + quote(key) + "]"
	}
	value := ""
	if e.Value != nil {
		value = quote(e.Value.Raw)
	}
	switch e.Operator {
	case grammar.MatchIn:
		return value + " in " + selector
	case grammar.MatchNotIn:
		return value + " not in " + selector
	}
	return selector + " " + map[grammar.MatchOperator]string{
		grammar.MatchEqual: "==", grammar.MatchNotEqual: "!=",
		grammar.MatchIsEmpty: "is empty", grammar.MatchIsNotEmpty: "is not empty",
		grammar.MatchIsNil: "is nil", grammar.MatchIsNotNil: "is not nil",
		grammar.MatchMatches: "matches", grammar.MatchNotMatches: "not matches",
		grammar.MatchContains: "contains", grammar.MatchNotContains: "not contains",
	}[e.Operator] + " " + value
}
