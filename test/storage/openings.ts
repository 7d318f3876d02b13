/** How tests open torrents, for reading and for writing. */
export {
  claim,
  filesOf,
  infoHashOf,
  open,
  openToWrite,
  realFiles,
  store
} from "../../src/testing/suite/Layouts.ts"
