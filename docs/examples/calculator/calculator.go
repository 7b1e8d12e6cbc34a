package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parser walks an expression from left to right:
//
//	sum     = product { ("+" | "-") product }
//	product = factor { ("*" | "/") factor }
//	factor  = ["-"] ( number | "(" sum ")" )
type parser struct {
	text  string
	depth int
}

const maxDepth = 1000

// evaluate returns the value of an expression in its shortest decimal form.
func evaluate(text string) (string, error) {
	p := parser{text: text}
	value, err := p.sum()
	if err != nil {
		return "", err
	}
	if rest := p.peek(); rest != 0 {
		return "", fmt.Errorf("unexpected %q", rest)
	}
	return strconv.FormatFloat(value, 'g', -1, 64), nil
}

// peek returns the next byte that is not a blank, or 0 at the end.
func (p *parser) peek() byte {
	p.text = strings.TrimLeft(p.text, " \t")
	if p.text == "" {
		return 0
	}
	return p.text[0]
}

func (p *parser) sum() (float64, error) {
	left, err := p.product()
	for err == nil {
		operator := p.peek()
		if operator != '+' && operator != '-' {
			return left, nil
		}
		p.text = p.text[1:]
		var right float64
		if right, err = p.product(); operator == '+' {
			left += right
		} else {
			left -= right
		}
	}
	return 0, err
}

func (p *parser) product() (float64, error) {
	left, err := p.factor()
	for err == nil {
		operator := p.peek()
		if operator != '*' && operator != '/' {
			return left, nil
		}
		p.text = p.text[1:]
		var right float64
		right, err = p.factor()
		switch {
		case err != nil:
		case operator == '*':
			left *= right
		case right == 0:
			err = errors.New("division by zero")
		default:
			left /= right
		}
	}
	return 0, err
}

func (p *parser) factor() (float64, error) {
	if p.depth++; p.depth > maxDepth {
		return 0, errors.New("too deeply nested")
	}
	defer func() { p.depth-- }()
	switch next := p.peek(); {
	case next == 0:
		return 0, errors.New("the expression ends too early")
	case next == '-':
		p.text = p.text[1:]
		value, err := p.factor()
		return -value, err
	case next == '(':
		p.text = p.text[1:]
		value, err := p.sum()
		if err == nil && p.peek() != ')' {
			return 0, errors.New("a parenthesis is not closed")
		}
		if err == nil {
			p.text = p.text[1:]
		}
		return value, err
	default:
		return p.number()
	}
}

func (p *parser) number() (float64, error) {
	end := 0
	for end < len(p.text) && strings.IndexByte("0123456789.", p.text[end]) >= 0 {
		end++
	}
	if end == 0 {
		return 0, fmt.Errorf("unexpected %q", p.text[0])
	}
	value, err := strconv.ParseFloat(p.text[:end], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", p.text[:end])
	}
	p.text = p.text[end:]
	return value, nil
}
