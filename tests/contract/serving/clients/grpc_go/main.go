// grpc-go's client, as its documentation uses it: the service is learnt by reflection.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const service = "inference.GRPCInferenceService"

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// described is the service as the server's reflection has it.
func described(ctx context.Context, conn *grpc.ClientConn) protoreflect.ServiceDescriptor {
	stream := must(reflection.NewServerReflectionClient(conn).ServerReflectionInfo(ctx))
	request := &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}
	must(0, stream.Send(&reflection.ServerReflectionRequest{MessageRequest: request}))
	answer := must(stream.Recv())
	set := &descriptorpb.FileDescriptorSet{}
	for _, content := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := &descriptorpb.FileDescriptorProto{}
		must(0, proto.Unmarshal(content, file))
		set.File = append(set.File, file)
	}
	must(0, stream.CloseSend())
	found := must(must(protodesc.NewFiles(set)).FindDescriptorByName(service))
	return found.(protoreflect.ServiceDescriptor)
}

func main() {
	address, model := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn := must(grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer conn.Close()
	health := must(grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}))
	method := described(ctx, conn).Methods().ByName("ModelInfer")

	ask := func(model, tail string, options ...grpc.CallOption) (map[string]any, error) {
		request := dynamicpb.NewMessage(method.Input())
		text := fmt.Sprintf(`{"modelName": %q, "inputs": [
			{"name": "age", "datatype": "FP32", "shape": [2, 1]%s`, model, tail)
		must(0, protojson.Unmarshal([]byte(text), request))
		answer := dynamicpb.NewMessage(method.Output())
		if err := conn.Invoke(ctx, "/"+service+"/ModelInfer", request, answer, options...); err != nil {
			return nil, err
		}
		found := map[string]any{}
		must(0, json.Unmarshal(must(protojson.Marshal(answer)), &found))
		return found, nil
	}
	const typed = `, "contents": {"fp32Contents": [55.0, 61.5]}},
		{"name": "sex", "datatype": "BYTES", "shape": [2, 1], "contents": {"bytesContents": ["Zg==", "bQ=="]}}]}`
	scores := map[string]any{}
	for what, options := range map[string][]grpc.CallOption{"typed": nil, "gzip": {grpc.UseCompressor(gzip.Name)}} {
		first := must(ask(model, typed, options...))["outputs"].([]any)[0].(map[string]any)
		scores[what] = first["contents"].(map[string]any)["fp32Contents"]
	}
	_, refused := ask("another", typed)
	must(0, json.NewEncoder(os.Stdout).Encode(map[string]any{
		"scores": scores, "health": health.Status.String(), "refused": status.Code(refused).String(),
	}))
}
