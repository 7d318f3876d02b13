/** Every operation that the microbenchmarks measure. */
import * as Bencode from "./Bencode.bench.ts"
import * as Disk from "./Disk.bench.ts"
import * as FrameDecoder from "./FrameDecoder.bench.ts"
import * as Mse from "./Mse.bench.ts"
import type { Operation } from "./Operation.ts"
import * as PeerProtocol from "./PeerProtocol.bench.ts"
import * as Pieces from "./Pieces.bench.ts"
import * as Rates from "./Rates.bench.ts"
import * as UploadSession from "./UploadSession.bench.ts"
import * as Uploads from "./Uploads.bench.ts"
import * as WebSeeds from "./WebSeeds.bench.ts"

export const operations: ReadonlyArray<Operation> = [
  ...FrameDecoder.operations,
  ...Pieces.operations,
  ...Rates.operations,
  ...PeerProtocol.operations,
  ...Uploads.operations,
  ...UploadSession.operations,
  ...Disk.operations,
  ...Bencode.operations,
  ...Mse.operations,
  ...WebSeeds.operations
]
