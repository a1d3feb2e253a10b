/** The part of jstat that distributions.ts uses; the package ships no types. */
declare module "jstat" {
  interface Distribution<Parameters extends number[]> {
    cdf(value: number, ...parameters: Parameters): number;
    inv(probability: number, ...parameters: Parameters): number;
  }
  const jstat: {
    jStat: {
      normal: Distribution<[mean: number, standardDeviation: number]>;
      studentt: Distribution<[degreesOfFreedom: number]>;
    };
  };
  export default jstat;
}
