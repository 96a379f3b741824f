// GitHub's package: who one is, a list of two pages, and an error of the service's.
import { Octokit } from '@octokit/rest'

const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN })
console.log((await octokit.rest.users.getAuthenticated()).data.login)
const issues = await octokit.paginate(octokit.rest.issues.listForRepo, { owner: 'acme', repo: 'demo', per_page: 2 })
console.log(issues.map(issue => issue.title).join(', '))
const made = await octokit.rest.issues.create({ owner: 'acme', repo: 'demo', title: 'from the sandbox' })
console.log(made.status, made.data.title)
try {
  await octokit.rest.repos.get({ owner: 'acme', repo: 'gone' })
} catch (error) {
  console.log(error.status, error.response.data.message)
}
