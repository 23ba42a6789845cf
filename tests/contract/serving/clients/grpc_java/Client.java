import com.google.protobuf.ByteString;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Descriptors.MethodDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.util.JsonFormat;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.reflection.v1alpha.ServerReflectionGrpc;
import io.grpc.reflection.v1alpha.ServerReflectionRequest;
import io.grpc.reflection.v1alpha.ServerReflectionResponse;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Java's gRPC client, as its documentation uses it: the service is learnt by reflection. */
public class Client {
    static final String SERVICE = "inference.GRPCInferenceService";
    static final String TYPED = """
        {"modelName": "%s", "inputs": [
          {"name": "age", "datatype": "FP32", "shape": [2, 1], "contents": {"fp32Contents": [55.0, 61.5]}},
          {"name": "sex", "datatype": "BYTES", "shape": [2, 1], "contents": {"bytesContents": ["Zg==", "bQ=="]}}]}""";

    static MethodDescriptor described(ManagedChannel channel) throws Exception {
        var answered = new CompletableFuture<ServerReflectionResponse>();
        var asking = ServerReflectionGrpc.newStub(channel).serverReflectionInfo(new StreamObserver<>() {
            public void onNext(ServerReflectionResponse answer) { answered.complete(answer); }
            public void onError(Throwable error) { answered.completeExceptionally(error); }
            public void onCompleted() { }
        });
        asking.onNext(ServerReflectionRequest.newBuilder().setFileContainingSymbol(SERVICE).build());
        var answer = answered.get(20, TimeUnit.SECONDS);
        asking.onCompleted();
        for (ByteString content : answer.getFileDescriptorResponse().getFileDescriptorProtoList()) {
            var file = FileDescriptor.buildFrom(FileDescriptorProto.parseFrom(content), new FileDescriptor[0]);
            if (file.findServiceByName("GRPCInferenceService") != null) {
                return file.findServiceByName("GRPCInferenceService").findMethodByName("ModelInfer");
            }
        }
        throw new IllegalStateException("no such service");
    }

    static List<Float> scores(ManagedChannel channel, MethodDescriptor method, String model, CallOptions options) throws Exception {
        var request = DynamicMessage.newBuilder(method.getInputType());
        JsonFormat.parser().merge(TYPED.formatted(model), request);
        var how = io.grpc.MethodDescriptor.<DynamicMessage, DynamicMessage>newBuilder()
            .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
            .setFullMethodName(SERVICE + "/ModelInfer")
            .setRequestMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(method.getInputType())))
            .setResponseMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(method.getOutputType())))
            .build();
        var answer = ClientCalls.blockingUnaryCall(channel, how, options.withDeadlineAfter(20, TimeUnit.SECONDS), request.build());
        var output = (DynamicMessage) answer.getRepeatedField(method.getOutputType().findFieldByName("outputs"), 0);
        var contents = (DynamicMessage) output.getField(output.getDescriptorForType().findFieldByName("contents"));
        var found = new ArrayList<Float>();
        for (Object score : (List<?>) contents.getField(contents.getDescriptorForType().findFieldByName("fp32_contents"))) {
            found.add((Float) score);
        }
        return found;
    }

    public static void main(String[] words) throws Exception {
        var channel = ManagedChannelBuilder.forTarget(words[0]).usePlaintext().build();
        var health = HealthGrpc.newBlockingStub(channel).check(HealthCheckRequest.getDefaultInstance()).getStatus();
        var method = described(channel);
        var typed = scores(channel, method, words[1], CallOptions.DEFAULT);
        var gzip = scores(channel, method, words[1], CallOptions.DEFAULT.withCompression("gzip"));
        var refused = "";
        try {
            scores(channel, method, "another", CallOptions.DEFAULT);
        } catch (StatusRuntimeException error) {
            refused = error.getStatus().getCode().toString();
        }
        channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        System.out.printf("{\"scores\": {\"typed\": %s, \"gzip\": %s}, \"health\": \"%s\", \"refused\": \"%s\"}%n", typed, gzip, health, refused);
    }
}
