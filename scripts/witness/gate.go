package main

import (
	"context"
	"flag"
	"io"
	"net"
)

// gate is a way to a port. Whoever takes it sees the port gone when the gate is killed.
func gate(_ context.Context, flags *flag.FlagSet, arguments []string) error {
	from := flags.String("from", "", "HOST:PORT to listen at")
	to := flags.String("to", "", "HOST:PORT to lead to")
	_ = flags.Parse(arguments) // ExitOnError
	listener, err := net.Listen("tcp", *from)
	if err != nil {
		return err
	}
	for {
		came, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer came.Close()
			went, err := net.Dial("tcp", *to)
			if err != nil {
				return
			}
			defer went.Close()
			go func() {
				_, _ = io.Copy(went, came)
				_ = went.Close()
			}()
			_, _ = io.Copy(came, went)
		}()
	}
}
