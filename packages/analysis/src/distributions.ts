import jstat from "jstat";

const { normal, studentt } = jstat.jStat;

/** Beyond so many degrees of freedom Student's t is the normal to 6 digits, and the library's inverse loses its own. */
const asNormal = 1e6;

/** P(Z <= z) of the standard normal. */
export const normalCdf = (z: number): number => normal.cdf(z, 0, 1);

/** The z with P(Z <= z) = probability. */
export const normalQuantile = (probability: number): number => normal.inv(probability, 0, 1);

/** P(T <= t) of Student's t; degrees of freedom need not be whole. */
export const studentCdf = (t: number, degreesOfFreedom: number): number =>
  degreesOfFreedom > asNormal ? normalCdf(t) : studentt.cdf(t, degreesOfFreedom);

/** The t with P(T <= t) = probability. */
export const studentQuantile = (probability: number, degreesOfFreedom: number): number =>
  degreesOfFreedom > asNormal ? normalQuantile(probability) : studentt.inv(probability, degreesOfFreedom);

/** Two-sided p of a t statistic. */
export const studentTwoSided = (t: number, degreesOfFreedom: number): number =>
  2 * studentCdf(-Math.abs(t), degreesOfFreedom);
