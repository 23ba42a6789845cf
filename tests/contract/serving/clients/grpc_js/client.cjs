// grpc-js, as its documentation uses it: with the service's .proto file.
const path = require("node:path");
const [modules, proto, address, model] = process.argv.slice(2);
const grpc = require(path.join(modules, "@grpc/grpc-js"));
const { loadSync } = require(path.join(modules, "@grpc/proto-loader"));

const { inference } = grpc.loadPackageDefinition(loadSync(proto, { longs: Number }));
const options = { plain: {}, gzip: { "grpc.default_compression_algorithm": 2 } };
const contents = { age: { fp32Contents: [55.0, 61.5] }, sex: { bytesContents: [Buffer.from("f"), Buffer.from("m")] } };
const inputs = Object.entries(contents).map(([name, values]) => ({
  name, datatype: name === "age" ? "FP32" : "BYTES", shape: [2, 1], contents: values,
}));

function ask(client, modelName) {
  const deadline = new Date(Date.now() + 20_000);
  return new Promise((resolve, reject) => {
    client.ModelInfer({ modelName, inputs }, new grpc.Metadata(), { deadline }, (error, answer) =>
      error ? reject(error) : resolve(answer.outputs[0].contents.fp32Contents));
  });
}

async function main() {
  const found = { scores: {} };
  for (const [what, how] of Object.entries(options)) {
    const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure(), how);
    found.scores[what] = await ask(client, model);
    found.refused = await ask(client, "another").catch((error) => grpc.status[error.code]);
    client.close();
  }
  process.stdout.write(JSON.stringify(found));
}

main();
