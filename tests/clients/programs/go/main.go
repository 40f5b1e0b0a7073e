// OpenAI's package for Go, built twice: with the last version that takes a comment for an event (old.mod), and with the
// newest (go.mod). Beside it sashabaranov/go-openai, which much of what is written in Go uses.
//
// It reads lines `BASE_URL MODEL HOW` and answers each with one of JSON, as the other programs here do.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	other "github.com/sashabaranov/go-openai"
)

const question = "Where were you?"

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		said, finish, err := ask(words[0], words[1], words[2])
		answer := map[string]string{"said": said, "finish": finish}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		line, _ := json.Marshal(answer) // of strings: it can't fail
		fmt.Println(string(line))
	}
}

func ask(baseURL, model, how string) (said string, finish string, err error) {
	ctx := context.Background()
	client := openai.NewClient(option.WithBaseURL(baseURL), option.WithAPIKey("none"), option.WithMaxRetries(0))
	chat := openai.ChatCompletionNewParams{
		Model:     model,
		Messages:  []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
		MaxTokens: openai.Int(20),
	}
	text := openai.CompletionNewParams{
		Model:  openai.CompletionNewParamsModel(model),
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(question)},
	}
	response := responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(question)},
	}
	switch how {
	case "stream":
		stream := client.Chat.Completions.NewStreaming(ctx, chat)
		for stream.Next() {
			for _, choice := range stream.Current().Choices {
				said += choice.Delta.Content
				finish = choice.FinishReason
			}
		}
		return said, finish, stream.Err()
	case "helper":
		stream := client.Chat.Completions.NewStreaming(ctx, chat)
		accumulator := openai.ChatCompletionAccumulator{}
		for stream.Next() {
			accumulator.AddChunk(stream.Current())
		}
		if len(accumulator.Choices) == 0 {
			return "", "", stream.Err()
		}
		choice := accumulator.Choices[0]
		return choice.Message.Content, choice.FinishReason, stream.Err()
	case "whole":
		answer, err := client.Chat.Completions.New(ctx, chat)
		if err != nil {
			return "", "", err
		}
		return answer.Choices[0].Message.Content, answer.Choices[0].FinishReason, nil
	case "text-stream":
		stream := client.Completions.NewStreaming(ctx, text)
		for stream.Next() {
			for _, choice := range stream.Current().Choices {
				said += choice.Text
				finish = string(choice.FinishReason)
			}
		}
		return said, finish, stream.Err()
	case "text-whole":
		answer, err := client.Completions.New(ctx, text)
		if err != nil {
			return "", "", err
		}
		return answer.Choices[0].Text, string(answer.Choices[0].FinishReason), nil
	case "responses-stream":
		stream := client.Responses.NewStreaming(ctx, response)
		for stream.Next() {
			event := stream.Current()
			switch event.Type {
			case "response.output_text.delta":
				said += event.Delta
			case "response.completed":
				finish = string(event.Response.Status)
			}
		}
		return said, finish, stream.Err()
	case "responses-whole":
		answer, err := client.Responses.New(ctx, response)
		if err != nil {
			return "", "", err
		}
		return answer.OutputText(), string(answer.Status), nil
	case "other-stream":
		return otherStream(ctx, baseURL, model)
	}
	return "", "", errors.New(how)
}

func otherStream(ctx context.Context, baseURL, model string) (said string, finish string, err error) {
	config := other.DefaultConfig("none")
	config.BaseURL = baseURL
	stream, err := other.NewClientWithConfig(config).CreateChatCompletionStream(ctx, other.ChatCompletionRequest{
		Model:     model,
		Messages:  []other.ChatCompletionMessage{{Role: "user", Content: question}},
		MaxTokens: 20,
	})
	if err != nil {
		return "", "", err
	}
	defer stream.Close()
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return said, finish, nil
		}
		if err != nil {
			return said, finish, err
		}
		for _, choice := range chunk.Choices {
			said += choice.Delta.Content
			finish = string(choice.FinishReason)
		}
	}
}
