package main

import (
	"context"
	"errors"
	"flag"
)

func fill(ctx context.Context, flags *flag.FlagSet, arguments []string) error    { return errors.New("") }
func picture(ctx context.Context, flags *flag.FlagSet, arguments []string) error { return errors.New("") }
